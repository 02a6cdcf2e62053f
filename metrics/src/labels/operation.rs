//! Closed label sets of running the gateway: tables, loads, upstreams.

use crate::per::closed_set;

closed_set! {
    /// What a capped table has rows of.
    TableScope {
        /// Sessions.
        Session = "session",
        /// Streams.
        Stream = "stream",
    }
}

closed_set! {
    /// Why a session or stream never had a row in its table.
    Untracked {
        /// The table was full.
        Cap = "cap",
        /// As many new rows as a minute may have had been made.
        Churn = "churn",
        /// It ended before a scrape found it old enough.
        TooShort = "too_short",
    }
}

closed_set! {
    /// How a load of the configuration or of a certificate went.
    ReloadResult {
        /// What was loaded is in use.
        Ok = "ok",
        /// What ran before still runs.
        Error = "error",
    }
}

closed_set! {
    /// How an active health check went.
    HealthResult {
        /// As it should.
        Ok = "ok",
        /// The answer was wrong.
        Failed = "failed",
        /// No answer came in time.
        Timeout = "timeout",
        /// No connection was to be had.
        ConnectError = "connect_error",
    }
}

closed_set! {
    /// Why an endpoint was taken out for what its traffic showed.
    EjectionReason {
        /// Answers of 500 and above, one after another.
        Consecutive5xx = "consecutive_5xx",
        /// Connections that failed, one after another.
        ConsecutiveConnectErrors = "consecutive_connect_errors",
        /// Resets, one after another.
        ConsecutiveResets = "consecutive_resets",
    }
}

closed_set! {
    /// What became of the wish to try again.
    RetryResult {
        /// It was tried again.
        Sent = "sent",
        /// Too many retries were under way.
        BudgetExhausted = "budget_exhausted",
        /// The request may not be sent twice.
        NotRetryable = "not_retryable",
    }
}
