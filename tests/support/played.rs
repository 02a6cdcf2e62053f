//! Operations of a gateway that are played: what the admin service is told where there is nothing behind it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;
use stagedoor::admin::Operations;
use stagedoor::admin::operations::{
    Certificate, Check, Document, Endpoint, EndpointState, LastError, NotReloaded, Reloaded, RetryBudget,
    Standing, Told, Upstream,
};
use tokio::sync::Notify;

/// Operations that say what they are told to.
#[derive(Default)]
pub(crate) struct Played {
    /// What the next loads come to; without one they change nothing.
    pub(crate) loads: Mutex<Vec<Result<Reloaded, NotReloaded>>>,
    /// A load waits for this first.
    pub(crate) held: Option<Arc<Notify>>,
    pub(crate) loaded: Arc<AtomicUsize>,
    /// Questions are not answered.
    pub(crate) silent: bool,
}

impl Played {
    fn say<T: Send + 'static>(&self, said: T) -> Told<T> {
        let silent = self.silent;
        Box::pin(async move {
            if silent {
                std::future::pending::<()>().await;
            }
            said
        })
    }
}

fn endpoint(url: &str, state: EndpointState) -> Endpoint {
    Endpoint {
        url: url.into(),
        up: state == EndpointState::Healthy,
        state,
        weight: 1,
        active: 2,
        pending: 0,
        connections: 1,
        consecutive_failures: 0,
        ejected_for: (state == EndpointState::Ejected).then_some(Duration::from_secs(12)),
        last_check: Some(Check { ok: true, detail: "200".into(), age: Duration::from_secs(3) }),
    }
}

impl Operations for Played {
    fn upstreams(&self) -> Told<Vec<Upstream>> {
        let endpoints = vec![
            endpoint("http://10.0.0.7:8080", EndpointState::Healthy),
            endpoint("http://10.0.0.8:8080", EndpointState::Ejected),
        ];
        let retry = RetryBudget { share: 0.2, available: 3 };
        self.say(vec![Upstream {
            name: "api".into(),
            protocol: "h2c".into(),
            balance: "p2c".into(),
            endpoints,
            retry,
        }])
    }

    fn certificates(&self) -> Told<Option<Vec<Certificate>>> {
        self.say(Some(vec![Certificate {
            name: "example.org".into(),
            names: vec!["example.org".into(), "*.example.org".into()],
            listeners: vec!["public".into()],
            not_after: UNIX_EPOCH + Duration::from_secs(7_000_000_000),
            issuer: Some("Test CA".into()),
            serial: Some("0a".into()),
            fingerprint: None,
            path: Some("/etc/stagedoor/example.pem".into()),
            error: None,
        }]))
    }

    fn standing(&self) -> Told<Standing> {
        self.say(Standing {
            source: "/etc/stagedoor/stagedoor.toml".into(),
            loaded_at: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
            last_error: Some(LastError {
                at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
                errors: "error[config::syntax]: no <b>bold</b>".into(),
            }),
        })
    }

    fn document(&self) -> Told<Document> {
        let origins = [("server.workers".to_owned(), "stagedoor.toml:3:11".to_owned())];
        self.say(Document { document: json!({ "server": { "workers": 2 } }), origins: origins.into() })
    }

    fn reload(&self) -> Told<Result<Reloaded, NotReloaded>> {
        let load = self.loads.lock().unwrap().pop().unwrap_or_else(|| Ok(Reloaded::default()));
        let (held, loaded) = (self.held.clone(), Arc::clone(&self.loaded));
        Box::pin(async move {
            if let Some(held) = held {
                held.notified().await;
            }
            loaded.fetch_add(1, Ordering::SeqCst);
            load
        })
    }
}
