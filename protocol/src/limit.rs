//! The protective limits by name: what each is against, what the peer sees when it is spent, how much it allows.
//!
//! One table, from which `docs/security.md`, the debug text of GOAWAY and the counters take their words. Counts nothing:
//! [`crate::Budgets`] and [`crate::Config`] hold the numbers, the connection decides.

use std::fmt;

use crate::config::{Config, Rate};

/// What the peer sees when a limit is spent.
///
/// ```
/// use stagedoor_protocol::{Limit, Reaction};
///
/// match Limit::HeaderFields.reaction() {
///     Reaction::TooLarge => println!("the request is answered 431"),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reaction {
    /// GOAWAY(ENHANCE_YOUR_CALM) with the limit's name as debug text; the connection ends.
    GoAway,
    /// GOAWAY(INTERNAL_ERROR): the fault is ours, and the peer had its share in it.
    Ours,
    /// RST_STREAM(REFUSED_STREAM): nothing was done, a retry is safe (RFC 9113 §8.7).
    Refuse,
    /// 431 for a request (RFC 6585 §5), RST_STREAM(ENHANCE_YOUR_CALM) for what cannot be answered.
    TooLarge,
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoAway => "GOAWAY ENHANCE_YOUR_CALM",
            Self::Ours => "GOAWAY INTERNAL_ERROR",
            Self::Refuse => "RST_STREAM REFUSED_STREAM",
            Self::TooLarge => "431, or RST_STREAM ENHANCE_YOUR_CALM",
        })
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $what:literal, $against:literal, $reaction:ident;)*) => {
        /// A protective limit.
        ///
        /// ```
        /// use stagedoor_protocol::{Config, Limit, Reaction};
        ///
        /// let limit = Limit::ResetsReceived;
        /// assert_eq!((limit.name(), limit.reaction()), ("resets_received", Reaction::GoAway));
        /// assert_eq!(limit.against(), "CVE-2023-44487 (Rapid Reset)");
        /// println!("{}: {}", limit.counts(), limit.allowance(&Config::default()));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Limit { $($(#[$doc])* $variant,)* }

        impl Limit {
            /// All of them, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name: the debug text of GOAWAY says it, and it is the name of its option.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it counts, for people.
            pub fn counts(self) -> &'static str {
                match self { $(Self::$variant => $what,)* }
            }

            /// The attack it stands against.
            pub fn against(self) -> &'static str {
                match self { $(Self::$variant => $against,)* }
            }

            /// What the peer sees.
            pub fn reaction(self) -> Reaction {
                match self { $(Self::$variant => Reaction::$reaction,)* }
            }
        }
    };
}

limits! {
    /// RST_STREAM received faster than allowed.
    ResetsReceived = "resets_received", "RST_STREAM received; one before the answer began counts double",
        "CVE-2023-44487 (Rapid Reset)", GoAway;
    /// Stream errors the peer provoked faster than allowed.
    ResetsProvoked = "resets_provoked", "stream errors the peer made us answer with RST_STREAM",
        "CVE-2025-8671 (MadeYouReset), CVE-2019-9514 (Reset Flood)", GoAway;
    /// Frames that broke a rule and did not end the connection.
    InvalidFrames = "invalid_frames", "frames that broke a rule and did not end the session: stream errors, answers to no PING",
        "CVE-2025-8671 below its rate, CVE-2019-9514", GoAway;
    /// PING frames.
    Pings = "pings", "PING to be answered, and answers to no PING of ours", "CVE-2019-9512 (Ping Flood)", GoAway;
    /// SETTINGS frames.
    Settings = "settings", "SETTINGS", "CVE-2019-9515 (Settings Flood)", GoAway;
    /// Entries of one SETTINGS frame.
    SettingsEntries = "settings_entries", "entries of one SETTINGS", "CVE-2020-11080", GoAway;
    /// Acknowledgements that wait for a peer that does not read.
    OutstandingAcks = "outstanding_acks", "acknowledgements of PING and SETTINGS that wait for the socket",
        "CVE-2019-9512, CVE-2019-9515", GoAway;
    /// Replies queued for a peer that does not read.
    ControlQueue = "control_queue", "replies of any kind that wait for the socket; from `control_queue_stop` on nothing is read",
        "CVE-2019-9514, CVE-2019-9517", GoAway;
    /// CONTINUATION frames in one header block.
    Continuations = "continuations", "CONTINUATION of one header block",
        "VU#421644 (CONTINUATION flood: CVE-2024-27316, -28182, -30255)", GoAway;
    /// CONTINUATION frames without octets in one header block.
    EmptyContinuations = "empty_continuations", "fragments of one header block without octets, the last one apart",
        "CVE-2019-9518 (Empty Frames Flood), VU#421644", GoAway;
    /// Octets of one encoded header block.
    HeaderBlockBytes = "header_block_bytes", "octets of one header block in CONTINUATION, encoded",
        "VU#421644, CVE-2022-41723", GoAway;
    /// Octets of a header list.
    HeaderBytes = "max_header_list_size", "octets of a header list, 32 a field included", "RFC 9113 §10.5.1", TooLarge;
    /// Fields of a header list.
    HeaderFields = "max_header_fields", "fields of a header list, cookie crumbs one by one",
        "CVE-2026-49975 (HTTP/2 bomb)", TooLarge;
    /// Decoded header list far beyond the limit.
    HeaderList = "header_list_factor", "times the limit of header lists that a block may decode to before decoding stops",
        "CVE-2016-6581 (HPACK bomb), CVE-2026-49975, CVE-2026-47774", GoAway;
    /// Empty DATA frames.
    EmptyData = "empty_data", "DATA without octets and without END_STREAM; one with octets gives one back",
        "CVE-2019-9518 (Empty Frames Flood), RUSTSEC-2026-0258", GoAway;
    /// Bodies in pieces so small and so many that what keeps them outweighs them.
    SmallData = "small_data",
        "octets by which unread DATA frames fall short of 256 each while the windows had room for more; larger ones and reading give back",
        "RUSTSEC-2026-0258, CVE-2019-9511 (Data Dribble)", GoAway;
    /// WINDOW_UPDATE frames that allow next to nothing.
    WindowUpdates = "window_updates",
        "WINDOW_UPDATE beyond two a stream, twenty a DATA frame of ours and one for each 64 octets sent",
        "CVE-2019-9511 (Data Dribble)", GoAway;
    /// PRIORITY and PRIORITY_UPDATE frames.
    Priorities = "priorities", "PRIORITY and PRIORITY_UPDATE, for each stream opened and one more",
        "CVE-2019-9513 (Resource Loop)", GoAway;
    /// Frames of unknown type, and others that carry nothing, without end.
    UnknownFrames = "unknown_bytes",
        "octets of frames that mean nothing here, and those by which DATA on a stream that is gone falls short of 256, beyond eight times the octets that meant something",
        "nginx's \"http2 flood\" rule, CVE-2019-9518", GoAway;
    /// More streams at once than allowed.
    Streams = "max_concurrent_streams", "streams at once; one that was reset counts until its handler has ended",
        "CVE-2023-44487, CVE-2025-8671", Refuse;
    /// More new streams than a peer can know to be free.
    NewStreams = "new_streams", "streams opened between two writes of ours, times the concurrency limit", "CVE-2023-44487", Refuse;
    /// Streams opened past a limit again and again.
    RefusedStreams = "refused_streams", "streams refused in a row, times the concurrency limit", "CVE-2023-44487", GoAway;
    /// What the session holds.
    Memory = "session_memory", "octets charged to the session; over it for `memory_patience` ends it (GOAWAY ENHANCE_YOUR_CALM)",
        "CVE-2019-9517 (Internal Data Buffering), CVE-2026-49975", Refuse;
    /// Handlers made to panic.
    Panics = "panics", "panics of handlers in the session's life", "what a bug of ours lets a peer do", Ours;
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Limit {
    /// How much `config` allows, for people.
    pub fn allowance(self, config: &Config) -> String {
        let budgets = &config.budgets;
        let rate = |rate: Rate| format!("{} at once, then {} a second", rate.burst, rate.per_second);
        match self {
            Self::ResetsReceived => rate(budgets.resets_received),
            Self::ResetsProvoked => rate(budgets.resets_provoked),
            Self::InvalidFrames => {
                format!("{}; a stream that ends well gives one back", budgets.invalid_frames)
            }
            Self::Pings => rate(budgets.pings),
            Self::Settings => rate(budgets.settings),
            Self::SettingsEntries => budgets.settings_entries.to_string(),
            Self::OutstandingAcks => budgets.outstanding_acks.to_string(),
            Self::ControlQueue => {
                format!("{}; {} stop the reading", budgets.control_queue, budgets.control_queue_stop)
            }
            Self::Continuations => budgets.continuations.to_string(),
            Self::EmptyContinuations => budgets.empty_continuations.to_string(),
            Self::HeaderBlockBytes => size(budgets.header_block_bytes as u64),
            Self::HeaderBytes => size(config.max_header_list_size.into()),
            Self::HeaderFields => config.max_header_fields.to_string(),
            Self::HeaderList => budgets.header_list_factor.to_string(),
            Self::EmptyData => budgets.empty_data.to_string(),
            Self::SmallData => budgets.small_data.to_string(),
            Self::WindowUpdates => budgets.window_updates.to_string(),
            Self::Priorities => budgets.priorities.to_string(),
            Self::UnknownFrames => size(budgets.unknown_bytes),
            Self::Streams => config.max_concurrent_streams.to_string(),
            Self::NewStreams => budgets.new_streams.to_string(),
            Self::RefusedStreams => budgets.refused_streams.to_string(),
            Self::Memory => {
                let seconds = budgets.memory_patience.as_secs();
                format!("{}; over it for {seconds} s ends the session", size(config.session_memory as u64))
            }
            Self::Panics => budgets.panics.to_string(),
        }
    }
}

/// Octets in the largest unit that fits them exactly.
fn size(octets: u64) -> String {
    match octets {
        _ if octets >= 1 << 20 && octets.is_multiple_of(1 << 20) => format!("{} MiB", octets >> 20),
        _ if octets >= 1 << 10 && octets.is_multiple_of(1 << 10) => format!("{} KiB", octets >> 10),
        _ => format!("{octets} octets"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_says_what_it_allows() {
        let config = Config::default();
        let names: HashSet<_> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        for limit in Limit::ALL {
            assert!(limit.allowance(&config).starts_with(|c: char| c.is_ascii_digit()), "{limit}");
            assert!(!limit.against().is_empty() && !limit.counts().is_empty(), "{limit}");
        }
    }
}
