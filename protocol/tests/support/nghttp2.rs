//! libnghttp2's coder behind safe calls: the oracle of record for header blocks. Bounds strings at 65 536 octets.

use std::ptr::{null_mut, slice_from_raw_parts};

use libnghttp2_sys as sys;

use super::Field;

pub(super) struct Inflater(*mut sys::nghttp2_hd_inflater);

impl Inflater {
    pub(super) fn new() -> Self {
        let mut raw = null_mut();
        // SAFETY: `raw` is a valid place for the pointer; it is freed once, in `drop`.
        assert_eq!(unsafe { sys::nghttp2_hd_inflate_new(&mut raw) }, 0);
        Self(raw)
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        // SAFETY: `self.0` came from nghttp2_hd_inflate_new and lives.
        assert_eq!(unsafe { sys::nghttp2_hd_inflate_change_table_size(self.0, limit as usize) }, 0);
    }

    pub(super) fn table_size(&mut self) -> usize {
        // SAFETY: as above.
        unsafe { sys::nghttp2_hd_inflate_get_dynamic_table_size(self.0) }
    }

    /// Fields until the end or the first error, and whether the block was accepted.
    pub(super) fn decode(&mut self, mut block: &[u8]) -> (Vec<Field>, bool) {
        let mut fields = Vec::new();
        loop {
            let mut nv =
                sys::nghttp2_nv { name: null_mut(), value: null_mut(), namelen: 0, valuelen: 0, flags: 0 };
            let mut flags = 0;
            // SAFETY: all pointers are to live places, and `block` is read for its length only.
            let used = unsafe {
                sys::nghttp2_hd_inflate_hd3(self.0, &mut nv, &mut flags, block.as_ptr(), block.len(), 1)
            };
            let Ok(used) = usize::try_from(used) else { return (fields, false) };
            block = &block[used..];
            if flags as u32 & sys::NGHTTP2_HD_INFLATE_EMIT != 0 {
                let sensitive = u32::from(nv.flags) & sys::NGHTTP2_NV_FLAG_NO_INDEX != 0;
                // SAFETY: after EMIT both point to that many octets until the next call.
                let (name, value) = unsafe {
                    (
                        (*slice_from_raw_parts(nv.name.cast_const(), nv.namelen)).to_vec(),
                        (*slice_from_raw_parts(nv.value.cast_const(), nv.valuelen)).to_vec(),
                    )
                };
                fields.push((name, value, sensitive));
            }
            if flags as u32 & sys::NGHTTP2_HD_INFLATE_FINAL != 0 {
                // SAFETY: `self.0` lives.
                unsafe { sys::nghttp2_hd_inflate_end_headers(self.0) };
                return (fields, true);
            }
            assert!(flags != 0 || !block.is_empty(), "neither a field nor the end");
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: the one place that frees it.
        unsafe { sys::nghttp2_hd_inflate_del(self.0) };
    }
}

pub(super) struct Deflater(*mut sys::nghttp2_hd_deflater);

impl Deflater {
    pub(super) fn new(max: u32) -> Self {
        let mut raw = null_mut();
        // SAFETY: `raw` is a valid place for the pointer; it is freed once, in `drop`.
        assert_eq!(unsafe { sys::nghttp2_hd_deflate_new(&mut raw, max as usize) }, 0);
        Self(raw)
    }

    pub(super) fn set_limit(&mut self, limit: u32) {
        // SAFETY: `self.0` came from nghttp2_hd_deflate_new and lives.
        assert_eq!(unsafe { sys::nghttp2_hd_deflate_change_table_size(self.0, limit as usize) }, 0);
    }

    pub(super) fn table_size(&mut self) -> usize {
        // SAFETY: as above.
        unsafe { sys::nghttp2_hd_deflate_get_dynamic_table_size(self.0) }
    }

    pub(super) fn encode(&mut self, fields: &[Field]) -> Vec<u8> {
        let list: Vec<sys::nghttp2_nv> = fields
            .iter()
            .map(|(name, value, sensitive)| sys::nghttp2_nv {
                name: name.as_ptr().cast_mut(),
                value: value.as_ptr().cast_mut(),
                namelen: name.len(),
                valuelen: value.len(),
                flags: u8::from(*sensitive),
            })
            .collect();
        // SAFETY: `list` and what it points to live through both calls, which only read them; `out`
        // has the length that is passed.
        unsafe {
            let mut out = vec![0; sys::nghttp2_hd_deflate_bound(self.0, list.as_ptr(), list.len())];
            let len =
                sys::nghttp2_hd_deflate_hd2(self.0, out.as_mut_ptr(), out.len(), list.as_ptr(), list.len());
            out.truncate(usize::try_from(len).expect("nghttp2 encodes"));
            out
        }
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        // SAFETY: the one place that frees it.
        unsafe { sys::nghttp2_hd_deflate_del(self.0) };
    }
}
