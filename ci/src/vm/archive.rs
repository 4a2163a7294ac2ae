//! An initramfs as the kernel reads it: a `cpio` archive in the "new ASCII" format,
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

/// `S_IFDIR`, `S_IFREG` and `S_IFLNK` with the permissions of everything in it (`include/uapi/linux/stat.h`).
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds an empty directory; its parent must be there.
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds an executable file.
    pub(super) fn program(&mut self, path: &str, contents: &[u8]) {
        self.entry(path, PROGRAM, contents);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK, target.as_bytes());
    }

    /// The whole archive, with its trailer.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// A header of thirteen numbers in eight hexadecimal digits, the name with its NUL, the contents; name and contents are each filled up to a
    /// multiple of four.
    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.entries += 1;
        let (inode, links) = (self.entries, 1);
        let [owner, group, time, major, minor, special_major, special_minor, checksum] = [0; 8];
        let length = contents.len();
        let name_length = path.len() + 1;
        let header = format!(
            "070701{inode:08x}{mode:08x}{owner:08x}{group:08x}{links:08x}{time:08x}{length:08x}{major:08x}{minor:08x}\
             {special_major:08x}{special_minor:08x}{name_length:08x}{checksum:08x}"
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.fill();
        self.bytes.extend_from_slice(contents);
        self.fill();
    }

    fn fill(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn every_field_is_where_the_format_has_it() {
        let mut archive = Archive::default();
        archive.program("init", b"#!/bin");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed"));
        // The header has 110 bytes, so `init` and its NUL end at 115 and the contents begin at 116.
        assert_eq!(&bytes[54..62], b"00000006", "length of the contents");
        assert_eq!(&bytes[94..102], b"00000005", "length of the name");
        assert_eq!(&bytes[110..124], b"init\0\0#!/bin\0\0");
        assert!(bytes[124..].starts_with(b"070701"));
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
