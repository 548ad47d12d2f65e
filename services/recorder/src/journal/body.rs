//! A body in memory while it is small, otherwise in a file, so that its size does not determine memory use.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;

/// A body in memory or in a file. Clones share it.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// A part of a file.
    File(Blob),
}

/// Part of a file that does not change any more.
#[derive(Clone, Debug)]
pub struct Blob {
    /// File that contains the body.
    pub file: Arc<File>,
    /// Offset of the body in the file.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

impl Body {
    /// Returns the length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(blob) => blob.bytes,
        }
    }

    /// Returns the bytes if they are in memory.
    #[must_use]
    pub fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// Returns a reader from the beginning of the body.
    #[must_use]
    pub fn reader(&self) -> BodyReader<'_> {
        match self {
            Self::Memory(bytes) => BodyReader::Memory(bytes),
            Self::File(blob) => BodyReader::File(&blob.file, blob.offset, blob.offset + blob.bytes),
        }
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self::Memory(bytes.into())
    }
}

/// Reader of a body.
#[derive(Debug)]
pub enum BodyReader<'a> {
    /// Remaining bytes.
    Memory(&'a [u8]),
    /// File, current offset and end offset.
    File(&'a File, u64, u64),
}

impl Read for BodyReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(left) => left.read(buffer),
            Self::File(file, at, end) => {
                let left = usize::try_from(*end - *at).unwrap_or(usize::MAX);
                let wanted = buffer.len().min(left);
                let read = file.read_at(&mut buffer[..wanted], *at)?;
                if read == 0 && wanted > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *at += read as u64;
                Ok(read)
            }
        }
    }
}
