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

closed_set! {
    /// Why a try at an upstream came to nothing: the error types of RFC 9209 §2.3 that a gateway meets, under the names
    /// that `proxy-status` gives them, and `stall`.
    ///
    /// ```
    /// use stagedoor_metrics::UpstreamFailure;
    ///
    /// assert_eq!(UpstreamFailure::from_label("dns_error"), Some(UpstreamFailure::DnsError));
    /// assert_eq!(UpstreamFailure::from_label("weather"), None);
    /// ```
    UpstreamFailure {
        /// The name server did not answer in time.
        DnsTimeout = "dns_timeout",
        /// The name has no address.
        DnsError = "dns_error",
        /// No endpoint takes traffic.
        DestinationUnavailable = "destination_unavailable",
        /// Nobody listens there.
        ConnectionRefused = "connection_refused",
        /// It was closed before the response was whole.
        ConnectionTerminated = "connection_terminated",
        /// It did not come up in time.
        ConnectionTimeout = "connection_timeout",
        /// As many connections or waiting requests as there may be.
        ConnectionLimitReached = "connection_limit_reached",
        /// The TLS handshake failed.
        TlsProtocolError = "tls_protocol_error",
        /// The certificate is not to be trusted.
        TlsCertificateError = "tls_certificate_error",
        /// The upstream found fault with the request as the gateway sent it.
        HttpRequestError = "http_request_error",
        /// The response ended before it was whole.
        HttpResponseIncomplete = "http_response_incomplete",
        /// The response broke the protocol.
        HttpProtocolError = "http_protocol_error",
        /// No head came in time.
        HttpResponseTimeout = "http_response_timeout",
        /// The upgrade was not made.
        HttpUpgradeFailed = "http_upgrade_failed",
        /// The body stood still for too long.
        Stall = "stall",
    }
}

impl UpstreamFailure {
    /// The failure of this name.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|failure| failure.label() == label)
    }
}
