//! The login file `.mylogin.cnf` that `mysql_config_editor` writes: an option file, obfuscated.
//!
//! The format is the one of `mysql_config_editor`: 4 bytes unused, 20 bytes of key material, then per
//! line a 4-byte little-endian length and the line as AES-128-ECB with PKCS#7 padding. The key is the
//! material folded to 16 bytes by XOR. It hides the text from a glance, no more.

use std::fs;
use std::path::Path;

use aes::Aes128;
use aes::cipher::{Block, BlockDecrypt, KeyInit};

use crate::failure::{Failure, Result};

const UNUSED_BYTES: usize = 4;
const KEY_MATERIAL_BYTES: usize = 20;
const BLOCK_BYTES: usize = 16;

/// Why the file may not be used: others than its owner can reach it. The client refuses such a file too.
pub fn unsafe_permissions(path: &Path) -> Option<String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).ok()?.permissions().mode();
        (mode & 0o077 != 0).then(|| {
            format!(
                "the login file {} is ignored, since others than its owner may use it; run chmod 600 on it",
                path.display()
            )
        })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// Reads the file and returns the text of an option file.
///
/// # Errors
/// A file that cannot be read or was not written by `mysql_config_editor`.
pub fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| {
        Failure::usage(format!(
            "cannot read the login file {}: {error}",
            path.display()
        ))
    })?;
    decode(&bytes).ok_or_else(|| {
        Failure::usage(format!(
            "{} is not a login file of mysql_config_editor",
            path.display()
        ))
        .remedy("write it anew with mysql_config_editor")
    })
}

fn decode(bytes: &[u8]) -> Option<String> {
    let material = bytes.get(UNUSED_BYTES..UNUSED_BYTES + KEY_MATERIAL_BYTES)?;
    let mut key = [0u8; BLOCK_BYTES];
    for (index, byte) in material.iter().enumerate() {
        key[index % BLOCK_BYTES] ^= byte;
    }
    let cipher = Aes128::new(&key.into());
    let mut rest = &bytes[UNUSED_BYTES + KEY_MATERIAL_BYTES..];
    let mut plain = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let line = after.get(..length)?;
        rest = &after[length..];
        plain.extend(decrypt_line(&cipher, line)?);
    }
    String::from_utf8(plain).ok()
}

fn decrypt_line(cipher: &Aes128, line: &[u8]) -> Option<Vec<u8>> {
    if line.is_empty() || !line.len().is_multiple_of(BLOCK_BYTES) {
        return None;
    }
    let mut plain = line.to_vec();
    for block in plain.chunks_exact_mut(BLOCK_BYTES) {
        cipher.decrypt_block(Block::<Aes128>::from_mut_slice(block));
    }
    let padding = usize::from(*plain.last()?);
    if padding == 0 || padding > BLOCK_BYTES {
        return None;
    }
    plain.truncate(plain.len() - padding);
    Some(plain)
}
