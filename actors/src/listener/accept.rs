//! The accept loop of one bound socket.
//!
//! Sorts the errors of `accept` into those of one connection (go on), those of a process that is out of something (pause,
//! or the loop spins) and those of the socket (the Listener ends and is restarted). Pauses while the process is overloaded:
//! the kernel's backlog holds what comes.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use actix::prelude::*;
use stagedoor_metrics::ConnectionResult;
use tokio::time::Sleep;

use super::Listener;
use super::errors::{LONGEST_PAUSE, PAUSE, Verdict, is_out_of_descriptors, sort};
use super::reserve::Reserve;
use super::socket::Acceptor;
use crate::overload::Strain;

/// Connections taken in one poll; then others on the arbiter have their turn.
const ACCEPTS: usize = 64;
/// Connections that are taken and closed for want of a descriptor before the next pause.
const TURNED_AWAY: usize = 64;

/// See the module.
pub(super) struct Accept {
    socket: Acceptor,
    reserve: Reserve,
    pause: Option<Pin<Box<Sleep>>>,
    next: Duration,
}

impl Accept {
    pub(super) fn new(socket: Acceptor) -> Self {
        Self { socket, reserve: Reserve::new(), pause: None, next: PAUSE }
    }

    fn pause(&mut self, listener: &Listener, time: Duration) {
        listener.post.metrics.set_accepting(listener.post.cells, false);
        self.pause = Some(Box::pin(tokio::time::sleep(time)));
    }

    /// Connections that wait are taken with the descriptor kept aside, and closed.
    fn turn_away(&mut self, listener: &Listener, cx: &mut task::Context<'_>) {
        for _ in 0..TURNED_AWAY {
            if !self.reserve.spend() {
                break;
            }
            let taken = self.socket.poll_accept(cx);
            let turned_away = matches!(taken, Poll::Ready(Ok(_)));
            drop(taken);
            self.reserve.refill();
            if !turned_away {
                break;
            }
            listener.cells.connections[ConnectionResult::RefusedOverload].inc();
        }
    }

    /// Descriptors ran out, or one was found again.
    fn strain(listener: &Listener, bare: bool) {
        if let Some(overload) = &listener.post.overload {
            overload.set(Strain::Descriptors, bare);
        }
    }
}

impl ActorFuture<Listener> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        listener: &mut Listener,
        ctx: &mut Context<Listener>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..ACCEPTS {
            if let Some(pause) = &mut this.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.pause = None;
                listener.post.metrics.set_accepting(listener.post.cells, true);
            }
            if listener.post.overload.as_ref().is_some_and(|overload| overload.forbids()) {
                this.pause(listener, PAUSE);
                continue;
            }
            let accepted = match this.socket.poll_accept(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(accepted) => accepted,
            };
            let accepted = match &listener.post.fault {
                Some(fault) => accepted.and_then(|accepted| fault().map(|()| accepted)),
                None => accepted,
            };
            let error = match accepted {
                Ok(arrival) => {
                    this.next = PAUSE;
                    this.reserve.refill();
                    Self::strain(listener, false);
                    listener.post.arrived(&listener.cells, arrival);
                    continue;
                }
                Err(error) => error,
            };
            listener.cells.connections[ConnectionResult::Error].inc();
            match sort(&error) {
                Verdict::Retry => {}
                Verdict::BackOff => {
                    if this.next == PAUSE {
                        tracing::warn!(listener = listener.post.name, %error, "accepting pauses");
                    }
                    if is_out_of_descriptors(&error) {
                        Self::strain(listener, true);
                        this.turn_away(listener, cx);
                    }
                    this.pause(listener, this.next);
                    this.next = (this.next * 2).min(LONGEST_PAUSE);
                }
                Verdict::Fatal => {
                    tracing::error!(listener = listener.post.name, %error, "accepting failed");
                    ctx.stop();
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
