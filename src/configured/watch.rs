//! Files that are watched: certificates always, the configuration where it was asked for.

use std::path::PathBuf;
use std::sync::Arc;

use stagedoor::watch::Watcher;

use super::engine::Engine;

/// Follows the files until the process ends.
pub(super) async fn certificates_and(engine: Arc<Engine>, everything: bool) {
    let mut watcher = Watcher::new(files(&engine, everything));
    loop {
        tokio::select! {
            changed = watcher.changed() => follow(&engine, &changed, everything).await,
            () = engine.moved.notified() => {}
        }
        watcher.set_paths(files(&engine, everything));
    }
}

fn files(engine: &Engine, everything: bool) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = engine.stores.load().values().flat_map(|store| store.files()).collect();
    if everything {
        let loaded = engine.held().loaded.clone();
        files.extend(loaded.iter().flat_map(|loaded| loaded.files.iter().cloned()));
    }
    files.sort_unstable();
    files.dedup();
    files
}

async fn follow(engine: &Arc<Engine>, changed: &[PathBuf], everything: bool) {
    let certificates: Vec<PathBuf> = engine.stores.load().values().flat_map(|store| store.files()).collect();
    if everything && changed.iter().any(|path| !certificates.contains(path)) {
        tracing::info!(?changed, "files of the configuration changed");
        if engine.reload().await.is_ok() {
            return;
        }
        // What is wrong with it was said, and is no reason to keep certificates that changed with it.
    }
    let stores = engine.stores.load_full();
    let read = tokio::task::spawn_blocking(move || {
        for store in stores.values() {
            store.reload();
        }
        // One of them may have let go of a name that others have too.
        stores.values().for_each(|store| store.announce());
    });
    if let Err(error) = read.await {
        tracing::error!(%error, "certificates could not be read again");
    }
}
