//! What a listener cannot be told, found before anything is bound.

use std::fmt;
use std::time::Duration;

use stagedoor_protocol::{Budgets, Connection, Settings, UserError, Window};

use super::ListenerConfig;

/// Settings that may be sent or told without a meaning here.
const CUSTOM: usize = 10;
/// Largest window and most streams (RFC 9113 §5.1.1, §6.9.1).
const MOST: u64 = 0x7fff_ffff;

/// A listener was told what cannot be.
///
/// ```
/// use stagedoor_actors::ListenerConfig;
///
/// let mut config = ListenerConfig::new("public", ([127, 0, 0, 1], 8080).into());
/// config.limits.header_fields = 1;
/// let error = config.check().unwrap_err();
/// assert_eq!((&*error.listener, error.option), ("public", "limits.header_fields"));
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("listener {listener:?}: {option} {problem}")]
pub struct ConfigError {
    /// Its name.
    pub listener: String,
    /// The field of [`ListenerConfig`], as a path.
    pub option: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an option.
///
/// ```
/// use stagedoor_actors::{ListenerConfig, Problem};
///
/// let mut config = ListenerConfig::new("public", ([127, 0, 0, 1], 8080).into());
/// config.limits.header_fields = 1;
/// match config.check().unwrap_err().problem {
///     Problem::OutOfRange { value, least, .. } => assert_eq!((value, least), (1, 4)),
///     other => panic!("{other}"),
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// A number outside its range.
    OutOfRange {
        /// What it is.
        value: u64,
        /// The least it may be.
        least: u64,
        /// The most it may be.
        most: u64,
    },
    /// A deadline of zero, which nobody could keep.
    Zero,
    /// A window that grows to less than it starts with.
    Shrinks(Window),
    /// A list with too many entries.
    TooMany {
        /// Entries.
        count: usize,
        /// The most it may have.
        most: usize,
    },
    /// A list that is empty and must not be.
    Empty,
    /// A setting that has an option of its own.
    NotCustom(u16),
    /// A share that is not between 0 and 1.
    NotAShare(f64),
    /// Neither HTTP/2 nor HTTP/1.1 is spoken.
    Mute,
    /// What the protocol refuses.
    Refused(UserError),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { value, least, most } => {
                write!(f, "is {value}, and must be between {least} and {most}")
            }
            Self::Zero => f.write_str("is zero: no client could keep it"),
            Self::Shrinks(Window { start, max }) => {
                write!(f, "starts with {start} octets, more than the {max} it may grow to")
            }
            Self::TooMany { count, most } => write!(f, "has {count} entries, at most {most} are allowed"),
            Self::Empty => f.write_str("is empty"),
            Self::NotCustom(id) => {
                write!(f, "names setting {id:#06x}, which has an option of its own or belongs to HTTP/2")
            }
            Self::NotAShare(share) => write!(f, "is {share}, and must be between 0 and 1"),
            Self::Mute => f.write_str("is false, and so is http1: nothing would be spoken"),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

type Found = Result<(), (&'static str, Problem)>;

fn within(option: &'static str, value: u64, least: u64, most: u64) -> Found {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err((option, Problem::OutOfRange { value, least, most })),
    }
}

fn window(option: &'static str, window: Window, least: u64) -> Found {
    within(option, window.start.into(), least, MOST)?;
    within(option, window.max.into(), least, MOST)?;
    if window.max < window.start { Err((option, Problem::Shrinks(window))) } else { Ok(()) }
}

fn few(option: &'static str, count: usize) -> Found {
    if count > CUSTOM { Err((option, Problem::TooMany { count, most: CUSTOM })) } else { Ok(()) }
}

/// Has no meaning in HTTP/2.
fn custom(option: &'static str, id: u16) -> Found {
    let one = Settings { custom: vec![(id, 0)], ..Settings::default() };
    match one.checked(true) {
        Ok(checked) if id != 0 && !checked.custom.is_empty() => Ok(()),
        Ok(_) | Err(_) => Err((option, Problem::NotCustom(id))),
    }
}

/// Allowances with which no client could say a word. Those of zero mean that the thing is not allowed at all.
fn find_in_budgets(budgets: &Budgets) -> Found {
    for (option, value, least) in [
        // The first reset may cost two.
        ("options.budgets.resets_received.burst", budgets.resets_received.burst, 2),
        ("options.budgets.resets_provoked.burst", budgets.resets_provoked.burst, 1),
        // The first SETTINGS is one, and is acknowledged.
        ("options.budgets.settings.burst", budgets.settings.burst, 1),
        ("options.budgets.settings_entries", budgets.settings_entries, 8),
        ("options.budgets.outstanding_acks", budgets.outstanding_acks, 1),
        ("options.budgets.control_queue", budgets.control_queue, 1),
        ("options.budgets.control_queue_stop", budgets.control_queue_stop, 1),
        ("options.budgets.header_list_factor", budgets.header_list_factor, 1),
        ("options.budgets.new_streams", budgets.new_streams, 1),
        ("options.budgets.refused_streams", budgets.refused_streams, 1),
        ("options.budgets.panics", budgets.panics, 1),
    ] {
        within(option, value.into(), least, u32::MAX.into())?;
    }
    let most = u64::from(budgets.control_queue);
    within("options.budgets.control_queue_stop", budgets.control_queue_stop.into(), 1, most)?;
    within("options.budgets.header_block_bytes", budgets.header_block_bytes as u64, 1024, MOST)
}

impl ListenerConfig {
    /// Looks at every option. [`ServerBuilder::start`](crate::ServerBuilder::start) does it before it binds;
    /// who makes a [`Host`](crate::Host) does well to.
    /// # Errors
    /// The first option that cannot be, in words for whoever wrote it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.find().map_err(|(option, problem)| {
            let listener = self.name.clone();
            ConfigError { listener, option, problem }
        })
    }

    fn find(&self) -> Found {
        if !self.http2 && !self.http1 {
            return Err(("http2", Problem::Mute));
        }
        if self.bind.is_empty() {
            return Err(("bind", Problem::Empty));
        }
        let limits = &self.limits;
        within("limits.sessions", limits.sessions as u64, 1, u64::MAX)?;
        within("limits.handshakes", limits.handshakes as u64, 1, u64::MAX)?;
        if let Some(sessions) = limits.sessions_per_address {
            within("limits.sessions_per_address", sessions as u64, 1, u64::MAX)?;
        }
        within("limits.streams_per_session", limits.streams_per_session.into(), 1, MOST)?;
        within("limits.session_memory", limits.session_memory as u64, 65_535, u64::MAX)?;
        within("limits.header_bytes", limits.header_bytes.into(), 256, 16 << 20)?;
        within("limits.header_fields", limits.header_fields as u64, 4, u16::MAX.into())?;
        if let Some(age) = &limits.session_max_age {
            if age.after == Duration::ZERO {
                return Err(("limits.session_max_age.after", Problem::Zero));
            }
            if !(0.0..=1.0).contains(&age.jitter) {
                return Err(("limits.session_max_age.jitter", Problem::NotAShare(age.jitter)));
            }
        }
        window("windows.stream", self.windows.stream, 1)?;
        window("windows.connection", self.windows.connection, 65_535)?;
        let timeouts = &self.timeouts;
        for (option, time) in [
            ("timeouts.handshake", timeouts.handshake),
            ("timeouts.preface", timeouts.preface),
            ("timeouts.header", timeouts.header),
            ("timeouts.settings", timeouts.settings),
            ("timeouts.keepalive_timeout", timeouts.keepalive_timeout),
        ] {
            let off = option == "timeouts.keepalive_timeout" && timeouts.keepalive_ping == Duration::ZERO;
            if time == Duration::ZERO && !off {
                return Err((option, Problem::Zero));
            }
        }
        self.find_in_options()
    }

    fn find_in_options(&self) -> Found {
        let options = &self.options;
        let memory = self.limits.session_memory as u64;
        within("options.header_table_size", options.header_table_size.into(), 0, memory)?;
        within("options.encoder_table_size", options.encoder_table_size.into(), 0, 64 << 10)?;
        within("options.max_send_header_block", options.max_send_header_block as u64, 1024, MOST)?;
        within("options.max_frame_size", options.max_frame_size.into(), 16_384, 0xff_ffff)?;
        within("options.max_outstanding_pings", options.max_outstanding_pings.into(), 1, 1000)?;
        within("options.max_outstanding_settings", options.max_outstanding_settings.into(), 1, 1000)?;
        find_in_budgets(&options.budgets)?;
        few("options.custom_settings", options.custom_settings.len())?;
        few("options.remote_custom_settings", options.remote_custom_settings.len())?;
        options.custom_settings.iter().try_for_each(|(id, _)| custom("options.custom_settings", *id))?;
        let told = &options.remote_custom_settings;
        told.iter().try_for_each(|id| custom("options.remote_custom_settings", *id))?;
        Connection::check_origins(&options.origins)
            .map_err(|error| ("options.origins", Problem::Refused(error)))
    }

    /// Takes over what `settings` say, for sessions that begin from then on.
    /// # Errors
    /// What may not be sent, or not by a server.
    pub(crate) fn take_over(&mut self, settings: &Settings) -> Result<(), UserError> {
        fn take<T: Copy>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        let settings = settings.checked(true)?;
        if settings.no_rfc7540_priorities == Some(false) {
            let id = stagedoor_protocol::settings::id::NO_RFC7540_PRIORITIES;
            return Err(UserError::InvalidSetting { id, value: 0 });
        }
        take(&mut self.options.header_table_size, settings.header_table_size);
        take(&mut self.limits.streams_per_session, settings.max_concurrent_streams);
        take(&mut self.options.max_frame_size, settings.max_frame_size);
        take(&mut self.limits.header_bytes, settings.max_header_list_size);
        take(&mut self.options.enable_connect_protocol, settings.enable_connect_protocol);
        if let Some(start) = settings.initial_window_size {
            let max = self.windows.stream.max.max(start);
            self.windows.stream = Window { start, max };
        }
        for (id, value) in settings.custom {
            match self.options.custom_settings.iter_mut().find(|(known, _)| *known == id) {
                Some(known) => known.1 = value,
                None => self.options.custom_settings.push((id, value)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MaxAge;

    fn config() -> ListenerConfig {
        ListenerConfig::new("shop", ([127, 0, 0, 1], 0).into())
    }

    fn problem_of(change: impl FnOnce(&mut ListenerConfig)) -> Option<(&'static str, String)> {
        let mut config = config();
        change(&mut config);
        config.check().err().map(|error| (error.option, error.to_string()))
    }

    #[test]
    fn the_defaults_can_be() {
        assert_eq!(problem_of(|_| {}), None);
    }

    #[test]
    fn bounds_come_in_pairs() {
        type Change = fn(&mut ListenerConfig, u32);
        let bounds: [(&str, Change, &[u32], &[u32]); 8] = [
            (
                "options.max_frame_size",
                |c, n| c.options.max_frame_size = n,
                &[16_384, 0xff_ffff],
                &[16_383, 0x100_0000],
            ),
            (
                "limits.streams_per_session",
                |c, n| c.limits.streams_per_session = n,
                &[1, 0x7fff_ffff],
                &[0, 1 << 31],
            ),
            (
                "windows.connection",
                |c, n| c.windows.connection = Window { start: n, max: n },
                &[65_535],
                &[65_534, 1 << 31],
            ),
            (
                "windows.stream",
                |c, n| c.windows.stream = Window { start: n, max: n },
                &[1, 0x7fff_ffff],
                &[0, 1 << 31],
            ),
            ("limits.header_fields", |c, n| c.limits.header_fields = n as usize, &[4, 65_535], &[3, 65_536]),
            (
                "options.max_outstanding_pings",
                |c, n| c.options.max_outstanding_pings = n,
                &[1, 1000],
                &[0, 1001],
            ),
            (
                "options.budgets.resets_received.burst",
                |c, n| c.options.budgets.resets_received.burst = n,
                &[2, u32::MAX],
                &[0, 1],
            ),
            ("limits.session_memory", |c, n| c.limits.session_memory = n as usize, &[65_535], &[65_534]),
        ];
        for (option, change, good, bad) in bounds {
            for value in good {
                assert_eq!(problem_of(|config| change(config, *value)), None, "{option} {value}");
            }
            for value in bad {
                let problem = problem_of(|config| change(config, *value));
                assert_eq!(problem.map(|(option, _)| option), Some(option), "{value}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let words = |change: fn(&mut ListenerConfig)| problem_of(change).unwrap().1;
        assert_eq!(
            words(|config| config.options.max_frame_size = 1),
            "listener \"shop\": options.max_frame_size is 1, and must be between 16384 and 16777215"
        );
        assert_eq!(
            words(|config| config.windows.stream = Window { start: 2, max: 1 }),
            "listener \"shop\": windows.stream starts with 2 octets, more than the 1 it may grow to"
        );
        assert_eq!(
            words(|config| config.timeouts.preface = Duration::ZERO),
            "listener \"shop\": timeouts.preface is zero: no client could keep it"
        );
        assert_eq!(
            words(|config| (config.http1, config.http2) = (false, false)),
            "listener \"shop\": http2 is false, and so is http1: nothing would be spoken"
        );
        assert_eq!(
            words(|config| config.options.custom_settings = vec![(4, 1)]),
            "listener \"shop\": options.custom_settings names setting 0x0004, which has an option of its own or \
             belongs to HTTP/2"
        );
        assert_eq!(
            words(|config| config.options.remote_custom_settings = (100..111).collect()),
            "listener \"shop\": options.remote_custom_settings has 11 entries, at most 10 are allowed"
        );
        assert_eq!(
            words(|config| config.options.origins = vec!["ftp://a".into()]),
            "listener \"shop\": options.origins \"ftp://a\" is not an http or https origin"
        );
        assert_eq!(
            words(|config| {
                let after = Duration::from_secs(1);
                config.limits.session_max_age = Some(MaxAge { after, jitter: 1.5, grace: after });
            }),
            "listener \"shop\": limits.session_max_age.jitter is 1.5, and must be between 0 and 1"
        );
    }

    #[test]
    fn settings_are_taken_over_for_what_begins_later() {
        let mut config = config();
        let settings = Settings {
            max_concurrent_streams: Some(3),
            initial_window_size: Some(8 << 20),
            custom: vec![(0xf000, 1)],
            ..Settings::default()
        };
        config.take_over(&settings).unwrap();
        assert_eq!(config.limits.streams_per_session, 3);
        assert_eq!(config.windows.stream, Window { start: 8 << 20, max: 8 << 20 });
        assert_eq!(config.options.custom_settings, [(0xf000, 1)]);
        let push = Settings { enable_push: Some(true), ..Settings::default() };
        assert_eq!(config.take_over(&push), Err(UserError::InvalidSetting { id: 2, value: 1 }));
    }
}
