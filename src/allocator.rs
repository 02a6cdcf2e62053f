//! The allocator of the binary: mimalloc, asked without an alignment where it gives enough by itself.
//!
//! The crate `mimalloc` hands every request on as an aligned one, which for sizes that are no power of two takes
//! mimalloc's slow path: 415 of some 8 100 instructions a request (callgrind, docs/performance.md). That is the
//! reason for the `unsafe` here. Counts nothing and limits nothing.

#![allow(
    unsafe_code,
    reason = "GlobalAlloc is an unsafe trait; the measured gain stands in the module header"
)]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// mimalloc aligns every block to this by itself (its word size).
const OWN_ALIGNMENT: usize = 8;

/// See the module.
pub(crate) struct Allocator;

// SAFETY: mimalloc's functions are those of malloc: they return null or a block of `size` octets that is
// aligned as asked, at least to 8, that no one else has, and that stays until it is freed. Every block that
// comes here to be freed or resized came from here.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two is allowed.
        unsafe {
            if layout.align() <= OWN_ALIGNMENT {
                mi::mi_malloc(layout.size()).cast()
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if layout.align() <= OWN_ALIGNMENT {
                mi::mi_zalloc(layout.size()).cast()
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align()).cast()
            }
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back a block of ours.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller resizes a block of ours; its alignment stays.
        unsafe {
            if layout.align() <= OWN_ALIGNMENT {
                mi::mi_realloc(block.cast(), size).cast()
            } else {
                mi::mi_realloc_aligned(block.cast(), size, layout.align()).cast()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_distinct_and_keep_their_octets() {
        let mut blocks = Vec::new();
        for size in (1..300).chain([4096, 70_000]) {
            for align in [1, 2, 4, 8, 16, 64, 4096] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not zero; each block is written within its size and freed once.
                unsafe {
                    let block = Allocator.alloc(layout);
                    assert!(!block.is_null() && block.addr().is_multiple_of(align), "{layout:?}");
                    block.write_bytes(size as u8, size);
                    let zeroed = Allocator.alloc_zeroed(layout);
                    assert!(zeroed.addr().is_multiple_of(align) && (0..size).all(|at| *zeroed.add(at) == 0));
                    Allocator.dealloc(zeroed, layout);
                    blocks.push((block, layout));
                }
            }
        }
        for (block, layout) in blocks {
            let (size, grown) = (layout.size(), layout.size() * 3);
            // SAFETY: the block is of this layout; the larger one is freed with its own.
            unsafe {
                assert!((0..size).all(|at| *block.add(at) == size as u8), "{layout:?}");
                let block = Allocator.realloc(block, layout, grown);
                assert!(block.addr().is_multiple_of(layout.align()));
                assert!((0..size).all(|at| *block.add(at) == size as u8), "{layout:?}");
                Allocator.dealloc(block, Layout::from_size_align(grown, layout.align()).unwrap());
            }
        }
    }
}
