//! A provider that the process has installed goes before those that are compiled in. A file of its own: it can be
//! installed once a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use stagedoor_actors::crypto;

#[test]
fn the_provider_of_the_process_goes_first() {
    let before = crypto::provider().unwrap();
    let own = CryptoProvider { kx_groups: before.kx_groups[..1].to_vec(), ..CryptoProvider::clone(&before) };
    own.install_default().unwrap();
    let after = crypto::provider().unwrap();
    assert!(Arc::ptr_eq(&after, CryptoProvider::get_default().unwrap()));
    assert_eq!((after.kx_groups.len(), before.kx_groups.len() > 1), (1, true));
}
