//! The programs and libraries of an event (`debug_meta.images`), by which addresses of frames find their source.

use super::fields::{Fields, LABEL_BYTES_MAX};

/// Largest number of images that are read. Our programs send one. Other SDKs send every library of the process.
const IMAGES_MAX: usize = 256;
/// Types of an ELF image: the first is the protocol's name, and the second is what the Rust SDK writes for every native image.
const TYPES: [&str; 2] = ["elf", "symbolic"];

/// A program or library in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// GNU build id, in hexadecimal digits.
    pub build_id: String,
    /// Lowest address in memory.
    pub address: u64,
    /// Bytes in memory. 0 if unknown.
    pub bytes: u64,
}

impl Image {
    /// Returns the distance of an address from the begin of the image. `None` if it is outside.
    #[must_use]
    pub fn relative(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.address).filter(|distance| self.bytes == 0 || *distance < self.bytes)
    }
}

/// Reads the ELF images that have a build id and an address.
pub(super) fn images(debug_meta: &Fields<'_>) -> Vec<Image> {
    let images = debug_meta.list("images").into_iter().take(IMAGES_MAX);
    images.filter_map(|image| read(&Fields::of(Some(image)))).collect()
}

fn read(image: &Fields<'_>) -> Option<Image> {
    let kind = image.text("type")?;
    if !TYPES.contains(&kind.as_str()) {
        return None;
    }
    Some(Image {
        build_id: image.short("code_id", LABEL_BYTES_MAX)?,
        address: address(&image.text("image_addr")?)?,
        bytes: image.number("image_size").unwrap_or(0),
    })
}

/// Reads an address: a number, or text with hexadecimal digits behind `0x`, or with decimal ones.
pub(super) fn address(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_with_build_id_and_address_are_read() {
        let json = r#"{"images":[
            {"type":"symbolic","code_id":"ab12","image_addr":"0x1000","image_size":256,"name":"payment"},
            {"type":"elf","code_id":"cd34","image_addr":8192},
            {"type":"elf","image_addr":"0x1000"},
            {"type":"elf","code_id":"ef56","image_addr":"-1"},
            {"type":"pe","code_id":"ef56","image_addr":"0x1000"},
            7]}"#;
        let image = |build_id: &str, address, bytes| Image { build_id: build_id.to_owned(), address, bytes };
        assert_eq!(images(&Fields::parse(json)), [image("ab12", 4_096, 256), image("cd34", 8_192, 0)]);
        assert!(images(&Fields::parse(r#"{"images":{}}"#)).is_empty());
    }

    #[test]
    fn address_belongs_to_an_image_between_its_ends() {
        let image = Image { build_id: "ab".to_owned(), address: 4_096, bytes: 16 };
        let found = [4_095, 4_096, 4_111, 4_112].map(|address| image.relative(address));
        assert_eq!(found, [None, Some(0), Some(15), None]);
        let unbounded = Image { bytes: 0, ..image };
        assert_eq!(unbounded.relative(1 << 40), Some((1 << 40) - 4_096));
    }

    #[test]
    fn addresses_are_hexadecimal_behind_their_prefix() {
        for (text, expected) in
            [("0x2a", Some(42)), ("0X2A", Some(42)), ("42", Some(42)), ("0x", None), ("2a", None), ("", None)]
        {
            assert_eq!(address(text), expected, "{text}");
        }
    }
}
