//! A body on its way: in memory while it is small, else in a file, so that its size is no matter of memory.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    sync::Arc,
};

use bytes::Bytes;

/// A body, wherever it is; clones share it.
#[derive(Clone, Debug)]
pub enum Body {
    /// In memory.
    Memory(Bytes),
    /// A part of a file.
    File(Blob),
}

/// A part of a file that does not change any more.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The file.
    pub file: Arc<File>,
    /// Where the body begins in it.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Body {
    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(blob) => blob.bytes,
        }
    }

    /// The bytes, where they are in memory.
    #[must_use]
    pub fn memory(&self) -> Option<&[u8]> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::File(_) => None,
        }
    }

    /// Reads it from its beginning.
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

/// Reads a body.
#[derive(Debug)]
pub enum BodyReader<'a> {
    /// What is left of it.
    Memory(&'a [u8]),
    /// The file, where to read on, and where it ends.
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
