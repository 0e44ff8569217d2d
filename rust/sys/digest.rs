// SPDX-License-Identifier: GPL-2.0

//! SHA-256 of the kernel's crypto library.
//!
//! C header: [`include/crypto/sha2.h`](srctree/include/crypto/sha2.h)

/// The SHA-256 digest of `data`; `None` on a kernel that was built without it.
pub(crate) fn sha256(data: &[u8]) -> Option<[u8; 32]> {
    #[cfg(CONFIG_CRYPTO_LIB_SHA256)]
    {
        let mut digest = [0; 32];
        // SAFETY: `data` is valid for reads of its length, `digest` for writes of 32 bytes.
        unsafe { super::bindings::sha256(data.as_ptr(), data.len(), digest.as_mut_ptr()) };
        Some(digest)
    }
    #[cfg(not(CONFIG_CRYPTO_LIB_SHA256))]
    {
        let _ = data;
        None
    }
}
