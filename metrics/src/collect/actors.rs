//! Families about actors: how many, how deep their mailboxes, what takes their time.

use super::view::View;
use crate::catalogue;
use crate::cell::Cell;
use crate::histogram::Merged;
use crate::labels::{ActorKind, MessageKind};
use crate::mailbox::Mailbox;
use crate::series::Families;
use crate::shard::{ActorCounts, MessageCounts};

pub(super) fn families(view: &View<'_>, out: &mut Families<'_>) {
    out.family(&catalogue::ACTORS, |out| {
        for kind in ActorKind::ALL {
            let alive: i64 = view.shards.iter().map(|(_, shard)| shard.actors()[*kind].alive.get()).sum();
            out.value([kind.label()], alive as f64);
        }
    });
    let mut counter = |family, cell: fn(&ActorCounts) -> &Cell| {
        out.family(family, |out| {
            for kind in ActorKind::ALL {
                out.value([kind.label()], view.actors(*kind, cell));
            }
        });
    };
    counter(&catalogue::ACTOR_STARTED, |counts| &counts.started);
    counter(&catalogue::ACTOR_RESTARTS, |counts| &counts.restarts);
    counter(&catalogue::ACTOR_PANICS, |counts| &counts.panics);
    let mailboxes: Vec<_> = mailboxes(view).collect();
    out.family(&catalogue::ACTOR_MAILBOX_MESSAGES, |out| {
        for (kind, depth) in &mailboxes {
            out.value([kind.label()], depth.sum as f64);
        }
    });
    out.family(&catalogue::ACTOR_MAILBOX_MESSAGES_MAX, |out| {
        for (kind, depth) in &mailboxes {
            out.value([kind.label()], depth.most as f64);
        }
    });
    out.family(&catalogue::ACTOR_MAILBOX_FULL, |out| {
        for kind in ActorKind::ALL {
            out.value([kind.label()], view.actors(*kind, |counts| &counts.mailbox_full));
        }
    });
    out.family(&catalogue::ACTOR_MAILBOX_WAIT, |out| {
        for kind in ActorKind::ALL {
            let parts = view.shards.iter().map(|(_, shard)| &shard.actors()[*kind].mailbox_wait);
            out.histogram([kind.label()], &Merged::of(parts));
        }
    });
    let mut messages = |family, cell: fn(&MessageCounts) -> &Cell, unit: f64| {
        out.family(family, |out| {
            for kind in MessageKind::ALL {
                let counts = view.shards.iter().map(|(_, shard)| &shard.messages()[*kind]);
                let sum: u64 = counts.map(|counts| cell(counts).get()).sum();
                out.value([kind.label()], sum as f64 / unit);
            }
        });
    };
    messages(&catalogue::ACTOR_MESSAGES, |counts| &counts.handled, 1.0);
    messages(&catalogue::ACTOR_MESSAGE_BUSY_SECONDS, |counts| &counts.busy_nanos, 1e9);
    out.family(&catalogue::WORKER_LOOP_LAG, |out| {
        // Whoever never ticks has nothing to show: the catalogue hides empty histograms.
        for (number, shard) in &view.shards {
            out.histogram([&number.to_string()], &Merged::of([&shard.loop_lag]));
        }
    });
}

/// The first shard of a thread that runs clients and no worker; listeners have the very last one.
const FIRST_OF_CLIENTS: u16 = 0x8000;

/// Messages that wait at the actors of a kind.
#[derive(Clone, Copy, Default)]
struct Depth {
    sum: u64,
    most: u64,
}

impl Depth {
    fn of<'a>(mailboxes: impl Iterator<Item = &'a Mailbox>) -> Self {
        mailboxes.map(Mailbox::waiting).fold(Self::default(), |depth, waiting| Self {
            sum: depth.sum + waiting,
            most: depth.most.max(waiting),
        })
    }
}

/// The depths by kind; streams have no mailbox of their own, their session speaks with them.
fn mailboxes(view: &View<'_>) -> impl Iterator<Item = (ActorKind, Depth)> {
    let of_shards = |of: fn(u16) -> bool| {
        Depth::of(view.shards.iter().filter(|(number, _)| of(*number)).map(|(_, shard)| &shard.mailbox))
    };
    ActorKind::ALL.iter().filter_map(move |kind| {
        let depth = match kind {
            ActorKind::Listener => of_shards(|number| number == u16::MAX),
            ActorKind::Worker => of_shards(|number| number < FIRST_OF_CLIENTS),
            ActorKind::Session => Depth::of(view.live.iter().map(|session| &session.mailbox)),
            ActorKind::Stream => return None,
        };
        Some((*kind, depth))
    })
}
