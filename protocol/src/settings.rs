//! SETTINGS: identifiers, values, what they may be (RFC 9113 §6.5, RFC 8441 §3, RFC 9218 §2.1).

use crate::error::{ConnectionError, UserError};

/// Most settings without a meaning here that are sent, or told when they come.
pub const MAX_CUSTOM: usize = 10;

/// Identifier of a setting, as on the wire.
pub mod id {
    /// SETTINGS_HEADER_TABLE_SIZE.
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    /// SETTINGS_ENABLE_PUSH.
    pub const ENABLE_PUSH: u16 = 0x2;
    /// SETTINGS_MAX_CONCURRENT_STREAMS.
    pub const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    /// SETTINGS_INITIAL_WINDOW_SIZE.
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    /// SETTINGS_MAX_FRAME_SIZE.
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    /// SETTINGS_MAX_HEADER_LIST_SIZE.
    pub const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
    /// SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1).
    pub const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

/// Name of a setting without its prefix, for messages; none for one that is not among [`id`].
///
/// ```
/// use stagedoor_protocol::settings::{id, name};
///
/// assert_eq!(name(id::MAX_FRAME_SIZE), Some("MAX_FRAME_SIZE"));
/// assert_eq!(name(0xff), None);
/// ```
pub fn name(id: u16) -> Option<&'static str> {
    Some(match id {
        id::HEADER_TABLE_SIZE => "HEADER_TABLE_SIZE",
        id::ENABLE_PUSH => "ENABLE_PUSH",
        id::MAX_CONCURRENT_STREAMS => "MAX_CONCURRENT_STREAMS",
        id::INITIAL_WINDOW_SIZE => "INITIAL_WINDOW_SIZE",
        id::MAX_FRAME_SIZE => "MAX_FRAME_SIZE",
        id::MAX_HEADER_LIST_SIZE => "MAX_HEADER_LIST_SIZE",
        id::ENABLE_CONNECT_PROTOCOL => "ENABLE_CONNECT_PROTOCOL",
        id::NO_RFC7540_PRIORITIES => "NO_RFC7540_PRIORITIES",
        _ => return None,
    })
}

/// A change of settings: what a SETTINGS frame carries. `None` leaves a value as it is.
///
/// ```
/// use stagedoor_protocol::Settings;
///
/// let change = Settings { max_concurrent_streams: Some(64), ..Settings::default() };
/// let packed = change.pack()?;
/// assert_eq!(packed, [0, 3, 0, 0, 0, 64]);
/// assert_eq!(Settings::unpack(&packed)?, change);
/// # Ok::<(), stagedoor_protocol::UserError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Octets of the decoder's dynamic table.
    pub header_table_size: Option<u32>,
    /// Whether the receiver may push.
    pub enable_push: Option<bool>,
    /// Streams the receiver may have open at once.
    pub max_concurrent_streams: Option<u32>,
    /// Initial window of each stream in octets, up to 2^31-1.
    pub initial_window_size: Option<u32>,
    /// Largest frame payload in octets, 16 384 to 16 777 215.
    pub max_frame_size: Option<u32>,
    /// Largest header list in octets, counted with 32 a field. Advice to the receiver.
    pub max_header_list_size: Option<u32>,
    /// Whether extended CONNECT may be used (RFC 8441). Once true it stays true.
    pub enable_connect_protocol: Option<bool>,
    /// Whether the priority scheme of RFC 7540 is unused (RFC 9218 §2.1). Fixed by the first SETTINGS.
    pub no_rfc7540_priorities: Option<bool>,
    /// Settings this crate gives no meaning to, in order. At most [`MAX_CUSTOM`] are sent; of those received, the ones
    /// [`crate::Config::remote_custom_settings`] asks for are told.
    pub custom: Vec<(u16, u32)>,
}

impl Settings {
    /// Reads the entries of a payload whose length is a multiple of six.
    /// # Errors
    /// [`ConnectionError::InvalidSetting`] or [`ConnectionError::InitialWindow`] for a value §6.5.2 forbids.
    pub fn decode(payload: &[u8]) -> Result<Self, ConnectionError> {
        let mut settings = Self::default();
        for entry in payload.as_chunks::<6>().0 {
            let id = u16::from_be_bytes([entry[0], entry[1]]);
            let value = u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]);
            settings.set(id, value)?;
        }
        Ok(settings)
    }

    /// Each SETTINGS_HEADER_TABLE_SIZE of a payload, in order.
    pub(crate) fn table_sizes(payload: &[u8]) -> impl Iterator<Item = u32> + '_ {
        let entries = payload.as_chunks::<6>().0.iter();
        entries.filter_map(|&[a, b, w, x, y, z]| match u16::from_be_bytes([a, b]) {
            id::HEADER_TABLE_SIZE => Some(u32::from_be_bytes([w, x, y, z])),
            _ => None,
        })
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), ConnectionError> {
        let flag = || match value {
            0 => Ok(Some(false)),
            1 => Ok(Some(true)),
            _ => Err(ConnectionError::InvalidSetting { id, value }),
        };
        match id {
            id::HEADER_TABLE_SIZE => self.header_table_size = Some(value),
            id::ENABLE_PUSH => self.enable_push = flag()?,
            id::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            id::INITIAL_WINDOW_SIZE if value > 0x7fff_ffff => {
                return Err(ConnectionError::InitialWindow(value));
            }
            id::INITIAL_WINDOW_SIZE => self.initial_window_size = Some(value),
            id::MAX_FRAME_SIZE if !(0x4000..=0xff_ffff).contains(&value) => {
                return Err(ConnectionError::InvalidSetting { id, value });
            }
            id::MAX_FRAME_SIZE => self.max_frame_size = Some(value),
            id::MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
            id::ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = flag()?,
            id::NO_RFC7540_PRIORITIES => self.no_rfc7540_priorities = flag()?,
            _ => self.custom.push((id, value)),
        }
        Ok(())
    }

    /// What may be sent, with settings that have a meaning moved out of [`Self::custom`] to their place.
    /// # Errors
    /// [`UserError::InvalidSetting`] for a value §6.5.2 forbids, [`UserError::TooManyCustomSettings`].
    pub fn checked(&self, server: bool) -> Result<Self, UserError> {
        let mut checked = Self::default();
        for (id, value) in self.entries() {
            let push = server && id == id::ENABLE_PUSH && value != 0;
            if push || checked.set(id, value).is_err() {
                return Err(UserError::InvalidSetting { id, value });
            }
        }
        match checked.custom.len() {
            0..=MAX_CUSTOM => Ok(checked),
            more => Err(UserError::TooManyCustomSettings(more)),
        }
    }

    /// The payload of a SETTINGS frame, six octets an entry: what an HTTP2-Settings field carries in base64url.
    /// # Errors
    /// [`UserError::InvalidSetting`] for a value §6.5.2 forbids, [`UserError::TooManyCustomSettings`].
    pub fn pack(&self) -> Result<Vec<u8>, UserError> {
        Ok(self.checked(false)?.encode())
    }

    /// Reads what [`Self::pack`] made, or any payload of SETTINGS.
    /// # Errors
    /// [`UserError::SettingsLength`] where the length is no multiple of six, [`UserError::InvalidSetting`].
    pub fn unpack(packed: &[u8]) -> Result<Self, UserError> {
        if !packed.len().is_multiple_of(6) {
            return Err(UserError::SettingsLength(packed.len()));
        }
        Self::decode(packed).map_err(|error| match error {
            ConnectionError::InvalidSetting { id, value } => UserError::InvalidSetting { id, value },
            ConnectionError::InitialWindow(value) => {
                UserError::InvalidSetting { id: id::INITIAL_WINDOW_SIZE, value }
            }
            _ => UserError::SettingsLength(packed.len()),
        })
    }

    /// Octets on the wire.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(48);
        for (id, value) in self.entries() {
            payload.extend_from_slice(&id.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        payload
    }

    /// Entries in the order of their identifiers, custom ones last.
    pub fn entries(&self) -> impl Iterator<Item = (u16, u32)> + '_ {
        [
            (id::HEADER_TABLE_SIZE, self.header_table_size),
            (id::ENABLE_PUSH, self.enable_push.map(u32::from)),
            (id::MAX_CONCURRENT_STREAMS, self.max_concurrent_streams),
            (id::INITIAL_WINDOW_SIZE, self.initial_window_size),
            (id::MAX_FRAME_SIZE, self.max_frame_size),
            (id::MAX_HEADER_LIST_SIZE, self.max_header_list_size),
            (id::ENABLE_CONNECT_PROTOCOL, self.enable_connect_protocol.map(u32::from)),
            (id::NO_RFC7540_PRIORITIES, self.no_rfc7540_priorities.map(u32::from)),
        ]
        .into_iter()
        .filter_map(|(id, value)| Some((id, value?)))
        .chain(self.custom.iter().copied())
    }
}

/// The settings one side has in force: the defaults of §6.5.2 until told otherwise.
///
/// ```
/// use stagedoor_protocol::Settings;
/// use stagedoor_protocol::settings::InForce;
///
/// let mut settings = InForce::default();
/// settings.apply(&Settings { max_concurrent_streams: Some(64), ..Settings::default() });
/// assert_eq!((settings.max_concurrent_streams, settings.initial_window_size), (64, 65_535));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// See [`Settings::header_table_size`].
    pub header_table_size: u32,
    /// See [`Settings::enable_push`].
    pub enable_push: bool,
    /// See [`Settings::max_concurrent_streams`]; `u32::MAX` is no limit.
    pub max_concurrent_streams: u32,
    /// See [`Settings::initial_window_size`].
    pub initial_window_size: u32,
    /// See [`Settings::max_frame_size`].
    pub max_frame_size: u32,
    /// See [`Settings::max_header_list_size`]; `u32::MAX` is no limit.
    pub max_header_list_size: u32,
    /// See [`Settings::enable_connect_protocol`].
    pub enable_connect_protocol: bool,
    /// See [`Settings::custom`]: the latest value of each.
    pub custom: Vec<(u16, u32)>,
}

impl Default for InForce {
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            enable_push: true,
            max_concurrent_streams: u32::MAX,
            initial_window_size: 65_535,
            max_frame_size: 16_384,
            max_header_list_size: u32::MAX,
            enable_connect_protocol: false,
            custom: Vec::new(),
        }
    }
}

impl InForce {
    /// Takes over what `change` says.
    pub fn apply(&mut self, change: &Settings) {
        fn take<T: Copy>(slot: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *slot = value;
            }
        }
        take(&mut self.header_table_size, change.header_table_size);
        take(&mut self.enable_push, change.enable_push);
        take(&mut self.max_concurrent_streams, change.max_concurrent_streams);
        take(&mut self.initial_window_size, change.initial_window_size);
        take(&mut self.max_frame_size, change.max_frame_size);
        take(&mut self.max_header_list_size, change.max_header_list_size);
        take(&mut self.enable_connect_protocol, change.enable_connect_protocol);
        for &(id, value) in &change.custom {
            match self.custom.iter_mut().find(|(other, _)| *other == id) {
                Some(known) => known.1 = value,
                None => self.custom.push((id, value)),
            }
        }
    }
}
