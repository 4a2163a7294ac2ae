//! The ELF inside a kernel image.
//!
//! A `bzImage` unpacks itself when it boots, which takes an emulated processor three seconds. So it is unpacked here, once,
//! and the machine enters the ELF through its PVH note. The places in the image are those of the boot protocol,
//! `Documentation/arch/x86/boot.rst`.

use anyhow::{Context as _, Result, bail, ensure};

/// `setup_sects`: how many sectors of 512 bytes the part for real mode has, the boot sector not counted.
const SETUP_SECTORS: usize = 0x1f1;
/// `header`: the magic number `HdrS`.
const MAGIC: usize = 0x202;
/// `version`: of the boot protocol, minor number first.
const VERSION: usize = 0x206;
/// `payload_offset`: where the packed kernel begins in the part for protected mode.
const PAYLOAD_OFFSET: usize = 0x248;
/// `payload_length`: how long it is, with the four bytes that follow the packed data.
const PAYLOAD_LENGTH: usize = 0x24c;
/// The first version of the protocol that says where the payload is: 2.08.
const VERSION_WITH_PAYLOAD: u16 = 0x0208;

/// The packed kernel in an image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Payload<'a> {
    /// What unpacks it.
    pub(super) packing: Packing,
    /// The packed bytes.
    pub(super) packed: &'a [u8],
    /// How many bytes it has when unpacked.
    pub(super) unpacked_length: usize,
}

/// How something is packed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Packing {
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// Known by the first bytes: RFC 1952 section 2.3.1, the .xz file format section 2.1.1.1, RFC 8878 section 3.1.1.
    pub(super) fn of(packed: &[u8]) -> Option<Self> {
        match packed {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The program that unpacks it from its standard input to its standard output, with its arguments. More may
    /// follow the packed data: nobody complains.
    pub(super) const fn program(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Gzip => ("gzip", &["-dcq"]),
            Self::Xz => ("xz", &["-dc", "--single-stream"]),
            Self::Zstd => ("zstd", &["-dcq"]),
        }
    }
}

/// Finds the packed kernel in `image`.
///
/// # Errors
/// It is not a `bzImage` of protocol 2.08 or later, is cut short, or is packed in an unknown way.
pub(super) fn payload(image: &[u8]) -> Result<Payload<'_>> {
    ensure!(image.get(MAGIC..).is_some_and(|rest| rest.starts_with(b"HdrS")), "it is not a bzImage");
    let version = u16::from_le_bytes(field(image, VERSION)?);
    ensure!(version >= VERSION_WITH_PAYLOAD, "its boot protocol {version:#06x} is older than 2.08");
    let [sectors] = field(image, SETUP_SECTORS)?;
    // For the sake of old boot loaders, 0 stands for 4.
    let sectors = if sectors == 0 { 4 } else { usize::from(sectors) };
    let start = (sectors + 1) * 512 + number(image, PAYLOAD_OFFSET)?;
    let length = number(image, PAYLOAD_LENGTH)?;
    let payload = image.get(start..).and_then(|rest| rest.get(..length)).context("it is cut short")?;
    let Some((packed, unpacked_length)) = payload.split_last_chunk() else { bail!("its payload is empty") };
    let packing = Packing::of(packed).context("its payload is packed in an unknown way")?;
    Ok(Payload { packing, packed, unpacked_length: usize::try_from(u32::from_le_bytes(*unpacked_length))? })
}

fn field<const N: usize>(image: &[u8], at: usize) -> Result<[u8; N]> {
    image.get(at..).and_then(|rest| rest.first_chunk()).copied().context("it is cut short")
}

fn number(image: &[u8], at: usize) -> Result<usize> {
    Ok(usize::try_from(u32::from_le_bytes(field(image, at)?))?)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::{Packing, Payload, payload};

    const ZSTD: [u8; 6] = [0x28, 0xb5, 0x2f, 0xfd, 1, 2];

    /// An image with one setup sector and a gap of 16 bytes before the payload.
    fn image(version: u16, packed: &[u8], unpacked_length: u32) -> Vec<u8> {
        let mut image = vec![0; 2 * 512 + 16];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&version.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(packed.len() + 4).expect("a short payload");
        image[0x24c..0x250].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(packed);
        image.extend_from_slice(&unpacked_length.to_le_bytes());
        image.extend_from_slice(b"what follows the payload");
        image
    }

    #[test]
    fn payload_is_found_with_its_unpacked_length() {
        let image = image(0x20f, &ZSTD, 70_000_000);
        let expected = Payload { packing: Packing::Zstd, packed: &ZSTD, unpacked_length: 70_000_000 };
        assert_eq!(payload(&image).expect("a good image"), expected);
    }

    #[test]
    fn zero_setup_sectors_mean_four() {
        let mut image = image(0x20f, &ZSTD, 7);
        image.splice(1024..1024, vec![0; 3 * 512]);
        image[0x1f1] = 0;
        assert_eq!(payload(&image).expect("a good image").packed, ZSTD);
    }

    #[test_case(&image(0x207, &ZSTD, 7), "its boot protocol 0x0207 is older than 2.08"; "old protocol")]
    #[test_case(&image(0x20f, b"plain", 7), "its payload is packed in an unknown way"; "unknown packing")]
    #[test_case(&image(0x20f, &ZSTD, 7)[..1045], "it is cut short"; "short payload")]
    #[test_case(&image(0x20f, &ZSTD, 7)[..0x210], "it is cut short"; "short header")]
    #[test_case(b"\x7fELF", "it is not a bzImage"; "another file")]
    fn unusable_image_is_refused(image: &[u8], expected: &str) {
        assert_eq!(payload(image).expect_err("an unusable image").to_string(), expected);
    }
}
