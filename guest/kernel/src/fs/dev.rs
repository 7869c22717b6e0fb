//! Devices. (stub)
#[derive(Debug)]
pub struct ZeroFile;
impl super::file::File for ZeroFile {}
