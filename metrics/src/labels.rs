//! The closed label sets: every label value that does not come from the configuration.
//! Decides nothing: which reason or code applies is the caller's; this file only names them.
//!
//! Invariant: an open set of the wire (frame types, error codes, methods) ends in one catch-all, so no
//! octet a peer sends can make a new series.

mod operation;

use crate::per::closed_set;

pub use operation::{
    EjectionReason, HealthResult, ReloadResult, RetryResult, TableScope, Untracked, UpstreamFailure,
};

closed_set! {
    /// What a session speaks.
    Protocol {
        /// HTTP/2 over TLS (ALPN `h2`, RFC 9113 §3.2).
        H2 = "h2",
        /// HTTP/2 without TLS, by prior knowledge (RFC 9113 §3.3) or upgrade.
        H2c = "h2c",
        /// HTTP/1.1 (RFC 9112), with or without TLS.
        Http1 = "http/1.1",
    }
}

closed_set! {
    /// What became of a connection offered to a listener; each connection is counted once, so the sum
    /// over the results is all that was offered.
    ConnectionResult {
        /// A session was started on it.
        Accepted = "accepted",
        /// A limit on connections (in all, per address, by rate) was reached.
        RefusedLimit = "refused_limit",
        /// The address is not allowed.
        RefusedAddress = "refused_address",
        /// The listener was paused or draining.
        RefusedDraining = "refused_draining",
        /// The process is overloaded.
        RefusedOverload = "refused_overload",
        /// A PROXY header that is broken, that an untrusted peer sent, or that a trusted one did not send.
        RefusedProxy = "refused_proxy",
        /// The TLS handshake failed.
        TlsError = "tls_error",
        /// The TLS handshake took too long.
        Timeout = "timeout",
        /// `accept` or setting up the socket failed.
        Error = "error",
    }
}

closed_set! {
    /// How a TLS handshake ended.
    TlsResult {
        /// It finished.
        Ok = "ok",
        /// It failed: an alert, a certificate, nothing in common.
        Error = "error",
        /// It took too long.
        Timeout = "timeout",
        /// The client went away.
        Closed = "closed",
    }
}

closed_set! {
    /// The negotiated version of TLS.
    TlsVersion {
        /// TLS 1.3 (RFC 8446).
        V13 = "1.3",
        /// TLS 1.2 (RFC 5246).
        V12 = "1.2",
        /// The handshake ended before a version was chosen.
        None = "none",
    }
}

closed_set! {
    /// Why a session ended: the first cause given to `CloseSession`.
    ///
    /// ```
    /// use stagedoor_metrics::CloseReason;
    ///
    /// assert_eq!(CloseReason::IdleTimeout.to_string(), "idle_timeout");
    /// match CloseReason::from_index(0) {
    ///     Some(CloseReason::ClientClosed) => println!("one of {}", CloseReason::COUNT),
    ///     other => panic!("{other:?}"),
    /// }
    /// ```
    CloseReason {
        /// The client closed the socket.
        ClientClosed = "client_closed",
        /// The client sent GOAWAY with NO_ERROR (RFC 9113 §6.8).
        ClientGoaway = "client_goaway",
        /// No stream was open for too long.
        IdleTimeout = "idle_timeout",
        /// Octets were queued and the peer took none for too long.
        WriteStall = "write_stall",
        /// A header section did not end in time.
        HeaderTimeout = "header_timeout",
        /// The session reached its greatest age.
        MaxAge = "max_age",
        /// The process or listener drains.
        Drain = "drain",
        /// An order through the admin API.
        Admin = "admin",
        /// The peer broke the protocol (RFC 9113 §5.4.1).
        ProtocolError = "protocol_error",
        /// A protective limit tripped.
        Abuse = "abuse",
        /// TLS failed after or during the handshake.
        TlsError = "tls_error",
        /// The socket failed.
        IoError = "io_error",
        /// The TLS handshake did not end in time.
        HandshakeTimeout = "handshake_timeout",
        /// The connection preface did not arrive in time (RFC 9113 §3.4).
        PrefaceTimeout = "preface_timeout",
        /// Our SETTINGS were not acknowledged in time (RFC 9113 §6.5.3).
        SettingsTimeout = "settings_timeout",
        /// Our PING was not answered in time.
        KeepaliveTimeout = "keepalive_timeout",
        /// The peer sent GOAWAY with an error code.
        PeerError = "peer_error",
        /// The session actor panicked.
        Panic = "panic",
        /// Too many of its streams panicked.
        PanicBudget = "panic_budget",
        /// Shed because the process is overloaded.
        Overload = "overload",
        /// The session held too much memory.
        Memory = "memory",
        /// The connection went on as another protocol.
        Upgraded = "upgraded",
        /// The session reached its greatest number of streams or octets.
        Limit = "limit",
        /// The process stops now.
        Shutdown = "shutdown",
        /// None of the above; its growth is a bug of ours.
        Other = "other",
    }
}

closed_set! {
    /// How a stream ended.
    ///
    /// ```
    /// use stagedoor_metrics::Outcome;
    ///
    /// /// Whose doing it was, as far as a client is concerned.
    /// fn is_the_clients(outcome: Outcome) -> bool {
    ///     matches!(outcome, Outcome::Complete | Outcome::ResetByPeer)
    /// }
    /// assert!(is_the_clients(Outcome::Complete) && !is_the_clients(Outcome::Panic));
    /// assert_eq!(Outcome::ResetByPeer.label(), "reset_by_peer");
    /// ```
    Outcome {
        /// Request and response both went through.
        Complete = "complete",
        /// The peer reset it (RST_STREAM, RFC 9113 §6.4).
        ResetByPeer = "reset_by_peer",
        /// We reset it for an error.
        ResetByUs = "reset_by_us",
        /// Refused before any work was done (REFUSED_STREAM).
        Refused = "refused",
        /// Cancelled by an order (CANCEL).
        Cancelled = "cancelled",
        /// One of its deadlines passed.
        Timeout = "timeout",
        /// Its handler or actor panicked.
        Panic = "panic",
        /// Its session ended first.
        SessionClosed = "session_closed",
    }
}

closed_set! {
    /// What a stream's time goes to; at any instant of its life exactly one of these is charged.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use stagedoor_metrics::WaitOn;
    ///
    /// // As sessions, streams and events tell it: an array in the order of `ALL`.
    /// let mut waits = [Duration::ZERO; WaitOn::COUNT];
    /// waits[WaitOn::Handler as usize] = Duration::from_millis(7);
    /// let most = WaitOn::ALL.iter().zip(waits).max_by_key(|(_, waited)| *waited);
    /// assert_eq!(most.map(|(on, _)| on.label()), Some("handler"));
    /// ```
    WaitOn {
        /// The handler reads the request's body and the client has sent nothing.
        RequestBody = "request_body",
        /// The handler runs, or awaits something of its own.
        Handler = "handler",
        /// A proxied exchange waits for the upstream.
        Upstream = "upstream",
        /// Octets are queued and the stream's window is used up (RFC 9113 §6.9).
        PeerStreamWindow = "peer_stream_window",
        /// Octets are queued, the stream's window is open, the connection's is used up.
        PeerConnectionWindow = "peer_connection_window",
        /// Octets are queued and may be sent; other streams have their turn.
        Scheduler = "scheduler",
        /// Octets are encoded and the socket does not take them.
        Socket = "socket",
    }
}

closed_set! {
    /// Messages and turns of actors, as `actor.what`.
    MessageKind {
        /// One turn of a session's pump: everything that waited for it.
        SessionTurn = "session.turn",
        /// The order to close a session.
        SessionClose = "session.close",
        /// The question how a session stands.
        SessionInspect = "session.inspect",
        /// The order to reset one stream.
        SessionResetStream = "session.reset_stream",
        /// The order to show a session's frames.
        SessionTap = "session.tap",
        /// What a stream says to its session.
        SessionReply = "session.reply",
        /// The order to serve a listener.
        WorkerServe = "worker.serve",
        /// A connection to run a session on.
        WorkerConnection = "worker.connection",
        /// An order to close sessions.
        WorkerClose = "worker.close",
        /// The question how sessions stand.
        WorkerInspect = "worker.inspect",
        /// An order to reset one stream of one session.
        WorkerResetStream = "worker.reset_stream",
        /// The order to show frames.
        WorkerTap = "worker.tap",
        /// Other words for sessions that begin from now on.
        WorkerReconfigure = "worker.reconfigure",
        /// The news that a session ended.
        ListenerSessionEnded = "listener.session_ended",
        /// The order to stop accepting.
        ListenerStop = "listener.stop",
        /// The order to accept again.
        ListenerResume = "listener.resume",
    }
}

closed_set! {
    /// Frame types: RFC 9113 §6, PRIORITY_UPDATE (RFC 9218 §7.1), and the rest as one.
    ///
    /// ```
    /// use stagedoor_metrics::FrameType;
    ///
    /// assert_eq!(FrameType::from_wire(0x6), FrameType::Ping);
    /// assert_eq!(FrameType::from_wire(0xff).label(), "unknown");
    /// ```
    FrameType {
        /// 0x00.
        Data = "DATA",
        /// 0x01.
        Headers = "HEADERS",
        /// 0x02.
        Priority = "PRIORITY",
        /// 0x03.
        RstStream = "RST_STREAM",
        /// 0x04.
        Settings = "SETTINGS",
        /// 0x05.
        PushPromise = "PUSH_PROMISE",
        /// 0x06.
        Ping = "PING",
        /// 0x07.
        Goaway = "GOAWAY",
        /// 0x08.
        WindowUpdate = "WINDOW_UPDATE",
        /// 0x09.
        Continuation = "CONTINUATION",
        /// 0x10.
        PriorityUpdate = "PRIORITY_UPDATE",
        /// Any other type.
        Unknown = "unknown",
    }
}

impl FrameType {
    /// The label of the type octet of a frame header (RFC 9113 §4.1).
    #[inline]
    #[must_use]
    pub const fn from_wire(octet: u8) -> Self {
        match octet {
            0x00..=0x09 => Self::ALL[octet as usize],
            0x10 => Self::PriorityUpdate,
            _ => Self::Unknown,
        }
    }
}

closed_set! {
    /// HTTP/2 error codes (RFC 9113 §7), and the rest as one.
    ///
    /// ```
    /// use stagedoor_metrics::H2Code;
    ///
    /// assert_eq!(H2Code::from_wire(0x8).label(), "CANCEL");
    /// assert_eq!(H2Code::from_wire(0xff), H2Code::Unknown);
    /// ```
    H2Code {
        /// 0x00.
        NoError = "NO_ERROR",
        /// 0x01.
        ProtocolError = "PROTOCOL_ERROR",
        /// 0x02.
        InternalError = "INTERNAL_ERROR",
        /// 0x03.
        FlowControlError = "FLOW_CONTROL_ERROR",
        /// 0x04.
        SettingsTimeout = "SETTINGS_TIMEOUT",
        /// 0x05.
        StreamClosed = "STREAM_CLOSED",
        /// 0x06.
        FrameSizeError = "FRAME_SIZE_ERROR",
        /// 0x07.
        RefusedStream = "REFUSED_STREAM",
        /// 0x08.
        Cancel = "CANCEL",
        /// 0x09.
        CompressionError = "COMPRESSION_ERROR",
        /// 0x0a.
        ConnectError = "CONNECT_ERROR",
        /// 0x0b.
        EnhanceYourCalm = "ENHANCE_YOUR_CALM",
        /// 0x0c.
        InadequateSecurity = "INADEQUATE_SECURITY",
        /// 0x0d.
        Http11Required = "HTTP_1_1_REQUIRED",
        /// Any other code.
        Unknown = "unknown",
    }
}

impl H2Code {
    /// The label of an error code as RST_STREAM and GOAWAY carry it.
    #[inline]
    #[must_use]
    pub const fn from_wire(code: u32) -> Self {
        match code {
            0x00..=0x0d => Self::ALL[code as usize],
            _ => Self::Unknown,
        }
    }
}

closed_set! {
    /// How far an error or a window reaches.
    Scope {
        /// One stream.
        Stream = "stream",
        /// The whole connection.
        Connection = "connection",
    }
}

closed_set! {
    /// Who began it.
    Origin {
        /// We did.
        Local = "local",
        /// The peer did.
        Remote = "remote",
    }
}

closed_set! {
    /// Which way, seen from here.
    Direction {
        /// Received.
        Rx = "rx",
        /// Sent.
        Tx = "tx",
    }
}

closed_set! {
    /// Request methods: RFC 9110 §9 and PATCH (RFC 5789); the rest as one.
    ///
    /// ```
    /// use stagedoor_metrics::Method;
    ///
    /// assert_eq!(Method::from_token(b"PATCH"), Method::Patch);
    /// assert_eq!(Method::from_token(b"get"), Method::Other);
    /// ```
    Method {
        /// GET.
        Get = "GET",
        /// HEAD.
        Head = "HEAD",
        /// POST.
        Post = "POST",
        /// PUT.
        Put = "PUT",
        /// DELETE.
        Delete = "DELETE",
        /// CONNECT, extended CONNECT (RFC 8441) too.
        Connect = "CONNECT",
        /// OPTIONS.
        Options = "OPTIONS",
        /// TRACE.
        Trace = "TRACE",
        /// PATCH.
        Patch = "PATCH",
        /// Any other token.
        Other = "OTHER",
    }
}

impl Method {
    /// The label of a method token; methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }
}

closed_set! {
    /// Which timer expired.
    ///
    /// ```
    /// use stagedoor_metrics::{TimeoutAction, TimeoutKind};
    ///
    /// fn line(kind: TimeoutKind, action: TimeoutAction) -> String {
    ///     match action {
    ///         TimeoutAction::Closed => format!("{kind} ended it"),
    ///         TimeoutAction::Extended => format!("{kind} waits on"),
    ///     }
    /// }
    /// assert_eq!(line(TimeoutKind::Idle, TimeoutAction::Closed), "idle ended it");
    /// ```
    TimeoutKind {
        /// TLS handshake.
        Handshake = "handshake",
        /// Connection preface.
        Preface = "preface",
        /// Header section.
        Header = "header",
        /// No open stream.
        Idle = "idle",
        /// Octets queued, none taken.
        WriteStall = "write_stall",
        /// Acknowledgement of our SETTINGS.
        Settings = "settings",
        /// Answer to our PING.
        Keepalive = "keepalive",
        /// End of a drain.
        Drain = "drain",
        /// Deciding what a connection speaks.
        UnknownProtocol = "unknown_protocol",
        /// Age of the session.
        MaxAge = "max_age",
        /// Hard deadline of a stream.
        Hard = "hard",
        /// Least rate of a body.
        MinRate = "min_rate",
    }
}

closed_set! {
    /// What an expired timer did.
    ///
    /// ```
    /// use stagedoor_metrics::TimeoutAction;
    ///
    /// assert_eq!(TimeoutAction::LABELS, ["closed", "extended"]);
    /// ```
    TimeoutAction {
        /// Closed its target.
        Closed = "closed",
        /// Started again, because octets had moved.
        Extended = "extended",
    }
}

closed_set! {
    /// Protective limits.
    AbuseKind {
        /// Streams opened and reset (CVE-2023-44487).
        RapidReset = "rapid_reset",
        /// Streams we were made to reset (CVE-2025-8671).
        ProvokedReset = "provoked_reset",
        /// PING flood (CVE-2019-9512).
        Ping = "ping",
        /// SETTINGS flood (CVE-2019-9515).
        Settings = "settings",
        /// CONTINUATION flood (CVE-2024-27316 and kin).
        Continuation = "continuation",
        /// Octets of a header section.
        HeaderBytes = "header_bytes",
        /// Number of header fields.
        HeaderFields = "header_fields",
        /// Decoded size of a header list (RFC 9113 §10.5.1).
        HeaderList = "header_list",
        /// DATA without octets (CVE-2019-9518).
        EmptyData = "empty_data",
        /// DATA in tiny pieces (CVE-2019-9511).
        SmallData = "small_data",
        /// WINDOW_UPDATE flood.
        WindowUpdate = "window_update",
        /// PRIORITY churn (CVE-2019-9513).
        Priority = "priority",
        /// Replies queued that the peer does not read.
        ControlQueue = "control_queue",
        /// Streams opened beyond the limit, again and again.
        RefusedStreams = "refused_streams",
        /// Frames of unknown type.
        UnknownFrames = "unknown_frames",
        /// Frames that broke a rule and did not end the session (CVE-2025-8671).
        InvalidFrames = "invalid_frames",
        /// Acknowledgements queued that the peer does not read (CVE-2019-9512).
        OutstandingAcks = "outstanding_acks",
        /// Streams beyond the limit, each refused.
        Streams = "streams",
        /// More new streams than the peer can know to be free, each refused.
        NewStreams = "new_streams",
        /// More held than a session may: streams refused, or the session ended.
        Memory = "memory",
        /// Handlers made to panic.
        Panics = "panics",
    }
}

closed_set! {
    /// Kinds of actors.
    ActorKind {
        /// Accepts connections.
        Listener = "listener",
        /// Owns an arbiter.
        Worker = "worker",
        /// Owns a connection.
        Session = "session",
        /// Owns an exchange.
        Stream = "stream",
    }
}

closed_set! {
    /// Which end of a connection we are.
    Role {
        /// The peer connected to us.
        Server = "server",
        /// We connected to the peer.
        Client = "client",
    }
}

closed_set! {
    /// Where a session stands.
    SessionState {
        /// TLS, preface or first SETTINGS outstanding.
        Handshake = "handshake",
        /// Streams may be opened.
        Open = "open",
        /// GOAWAY sent; open streams finish.
        Draining = "draining",
        /// Only octets already queued still leave.
        Closing = "closing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_integers_map_to_their_names_and_the_rest_to_one() {
        assert_eq!(FrameType::from_wire(0x00).label(), "DATA");
        assert_eq!(FrameType::from_wire(0x09).label(), "CONTINUATION");
        assert_eq!(FrameType::from_wire(0x0a), FrameType::Unknown);
        assert_eq!(FrameType::from_wire(0x10).label(), "PRIORITY_UPDATE");
        assert_eq!(FrameType::from_wire(0xff), FrameType::Unknown);
        assert_eq!(H2Code::from_wire(0).label(), "NO_ERROR");
        assert_eq!(H2Code::from_wire(0x0d).label(), "HTTP_1_1_REQUIRED");
        assert_eq!(H2Code::from_wire(0x0e), H2Code::Unknown);
        assert_eq!(H2Code::from_wire(u32::MAX), H2Code::Unknown);
    }

    #[test]
    fn methods_are_case_sensitive() {
        for method in Method::ALL.iter().take(Method::COUNT - 1) {
            assert_eq!(Method::from_token(method.label().as_bytes()), *method);
        }
        assert_eq!(Method::from_token(b"get"), Method::Other);
    }

    #[test]
    fn an_index_goes_there_and_back() {
        for (index, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert_eq!(CloseReason::from_index(index), Some(*reason));
        }
        assert_eq!(CloseReason::from_index(CloseReason::COUNT), None);
    }
}
