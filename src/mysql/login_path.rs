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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::option_files::{self, FilePlaces, FileSelection};

    /// Written by mysql_config_editor 9.7: two login paths, passwords `s3cr#t "quoted" \x` and `a`.
    const WRITTEN: &str = "\
        00000000031b0119170e1a1b1e011717151b1a040a03180b10000000ab6be058d9100e8c740e0bafdc9c364310000000\
        21cb461f4fa3240ba455c6f364ef0a24300000003ba9bbc796e7e6a5d7f4d3cdaa90c1bacc81d8e5f67ed3e186fb9374\
        29a80437d0b18eeaeed137fc849e90f127951e0a200000003c08dfb3de9a77ce653adde8de1846907b1c7ce7bb9b533e\
        cec0866ab78a218510000000f34ef2c252c816bd45017920d4c66141100000003344b178e4e326d2bbdaee3218affd8b\
        10000000ca28937afdc653ac4417018c0db9581710000000f693602bd240ebdde07ddabd780ed2f71000000084b5a8f0\
        2c58aa63744d756d3eb71221\
    ";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn what_mysql_config_editor_wrote_is_read() {
        assert_eq!(
            decode(&bytes(WRITTEN)).unwrap(),
            concat!(
                "[client]\n",
                "user = \"joe\"\n",
                "password = \"s3cr#t \\\"quoted\\\" \\x\"\n",
                "host = \"db1.example\"\n",
                "[prod]\n",
                "user = \"ann\"\n",
                "password = \"a\"\n",
                "host = \"db2\"\n",
                "port = 3307\n",
            )
        );
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let whole = bytes(WRITTEN);
        let line_ends = [24, 44, 64, 116, 152, 172, 192, 212, 232, 252];
        for length in 0..whole.len() {
            let damaged = decode(&whole[..length]);
            assert!(damaged.is_none() || line_ends.contains(&length), "{length}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            let _ = decode(&damaged);
        }
    }

    #[test]
    fn the_password_is_read_as_the_client_reads_it() {
        let path = std::env::temp_dir().join(format!("changeling-login-{}", std::process::id()));
        fs::write(&path, bytes(WRITTEN)).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let read = |name: Option<&str>| {
            let selection = FileSelection {
                no_defaults: true,
                login_path: name.map(str::to_string),
                ..FileSelection::default()
            };
            let places = FilePlaces {
                login: Some(path.clone()),
                ..FilePlaces::default()
            };
            option_files::read(&selection, &places)
        };
        let (client, _) = read(None).unwrap();
        let (prod, _) = read(Some("prod")).unwrap();
        let missing = read(Some("stage")).unwrap_err();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (open, warnings) = read(None).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(client.text("password"), Some("s3cr#t \"quoted\" \\x"));
        assert_eq!(client.text("port"), None);
        assert_eq!(prod.text("password"), Some("a"));
        assert_eq!(prod.text("port"), Some("3307"));
        assert!(missing.to_string().contains("stage"), "{missing}");
        assert_eq!(open.text("user"), None);
        assert!(warnings[0].contains("chmod 600"), "{warnings:?}");
    }
}
