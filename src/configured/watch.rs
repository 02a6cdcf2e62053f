//! Files that are watched: certificates always, the configuration where it was asked for.

use std::path::PathBuf;
use std::sync::Arc;

use stagedoor::config;
use stagedoor::watch::Watcher;

use super::engine::Engine;

/// Follows the files until the process ends.
pub(super) async fn certificates_and(engine: Arc<Engine>, everything: bool) {
    let mut watched = files(&engine, everything);
    let mut watcher = Watcher::new(watched.clone());
    catch_up(&engine, everything).await;
    loop {
        tokio::select! {
            changed = watcher.changed() => follow(&engine, &changed, everything).await,
            () = engine.moved.notified() => {}
        }
        let wanted = files(&engine, everything);
        if wanted != watched {
            watcher.set_paths(wanted.clone());
            watched = wanted;
            catch_up(&engine, everything).await;
        }
    }
}

/// A watcher measures against what it found when it began. What changed since the files were loaded, and before that, is
/// found here.
async fn catch_up(engine: &Arc<Engine>, everything: bool) {
    certificates_again(engine).await;
    let (Some(file), Some(loaded)) = (engine.file.clone(), engine.held().loaded.clone()) else { return };
    if !everything {
        return;
    }
    let known = Arc::clone(engine);
    let same = tokio::task::spawn_blocking(move || {
        let now = config::load(&file, crate::configure::environment(), &known.defaults);
        now.is_ok_and(|now| now.config == loaded.config)
    });
    if !same.await.unwrap_or(true) {
        tracing::info!("the configuration changed before it was watched");
        // What is wrong with it was said.
        engine.reload().await.ok();
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
    certificates_again(engine).await;
}

/// Reads those again that changed.
async fn certificates_again(engine: &Engine) {
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
