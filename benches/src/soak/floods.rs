//! Clients that flood, and read whatever comes, until the gateway ends them.

use std::future::pending;

use anyhow::Result;
use stagedoor_protocol::ErrorCode;
use stagedoor_protocol::frame::kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Target;
use super::link::{Carrier, Leaving, Link};
use crate::flood::{Flood, Shots};
use crate::wire::Frames;

/// Floods one session; how the gateway ended it.
///
/// # Errors
/// When no session can be opened. One that is never ended is for the caller's patience.
pub(super) async fn flood(target: &Target, carrier: Carrier, flood: Flood) -> Result<String> {
    let link = Link::open(target, carrier, flood.window(), Leaving::Quietly).await?;
    let mut shots = Shots::new(flood, link.scheme(), link.authority());
    let (mut reader, mut writer) = tokio::io::split(link.into_io());
    let fire = async {
        while let Ok(count @ 1..) = writer.write(shots.waiting()).await {
            shots.fired(count);
            // TLS takes octets before the socket does.
            if writer.flush().await.is_err() {
                break;
            }
        }
        // What became of the session is heard on the other side.
        pending::<()>().await;
    };
    let hear = async {
        let mut frames = Frames::default();
        let mut room = vec![0; 16 << 10];
        loop {
            match reader.read(&mut room).await {
                Ok(0) => return "closed".to_owned(),
                Ok(count) => frames.push(&room[..count]),
                Err(error) => return format!("{:?}", error.kind()),
            }
            if let Some(goaway) = frames.by_ref().find(|frame| frame.kind == kind::GOAWAY) {
                let words = String::from_utf8_lossy(goaway.payload.get(8..).unwrap_or_default()).into_owned();
                return format!("GOAWAY {} {words}", ErrorCode(goaway.number(4)));
            }
        }
    };
    tokio::select! {
        end = hear => Ok(end),
        () = fire => Ok(String::new()), // never
    }
}
