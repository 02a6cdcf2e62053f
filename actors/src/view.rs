//! Sessions and streams as people see them: plain data, taken by message from the actors that own them.

/// A session as it stands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct SessionView {
    /// `w-n`: worker, counter in base 36.
    pub id: String,
    pub role: &'static str,
    pub protocol: &'static str,
    pub listener: String,
    pub peer: Option<String>,
    /// handshake, open, draining, closing
    pub state: &'static str,
    pub age_seconds: f64,
    pub idle_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub streams_open: u64,
    pub streams_total: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
    pub recv_window: i64,
    pub memory_bytes: u64,
    pub streams: Vec<StreamView>,
}

/// A stream as it stands.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct StreamView {
    pub id: u32,
    pub route: String,
    pub method: String,
    pub state: &'static str,
    pub age_seconds: f64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub write_queue_bytes: u64,
    pub send_window: i64,
}
