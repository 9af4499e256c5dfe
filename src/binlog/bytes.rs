//! Reading bytes that came from the network: every read is checked against what is there.

/// Bytes that are not what the format promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

/// What reading gives.
pub type Read<T> = Result<T, Corrupt>;

/// A place in bytes. Numbers are little-endian unless the name says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(Corrupt("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (head, rest) = self
            .0
            .split_first_chunk()
            .ok_or(Corrupt("it ends too early"))?;
        self.0 = rest;
        Ok(*head)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes.
    #[inline]
    pub fn u16(&mut self) -> Read<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self) -> Read<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An unsigned number of up to eight bytes.
    #[inline]
    pub fn uint(&mut self, width: usize) -> Read<u64> {
        match width {
            1 => self.u8().map(u64::from),
            2 => self.u16().map(u64::from),
            4 => self.u32().map(u64::from),
            8 => self.u64(),
            0..8 => Ok(self
                .take(width)?
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))),
            _ => Err(Corrupt("a number of more than eight bytes")),
        }
    }

    /// An unsigned number of up to eight bytes, highest first.
    #[inline]
    pub fn uint_be(&mut self, width: usize) -> Read<u64> {
        match width {
            4 => self.array().map(u32::from_be_bytes).map(u64::from),
            0..=8 => Ok(self
                .take(width)?
                .iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))),
            _ => Err(Corrupt("a number of more than eight bytes")),
        }
    }

    /// A number in the protocol's packed form: one byte up to 250, else a marker and 2, 3 or 8 bytes.
    #[inline]
    pub fn packed(&mut self) -> Read<u64> {
        match self.u8()? {
            0xfc => Ok(u64::from(self.u16()?)),
            0xfd => self.uint(3),
            0xfe => self.u64(),
            small @ 0..=0xfa => Ok(u64::from(small)),
            _ => Err(Corrupt("a packed number begins with no marker")),
        }
    }

    /// A packed number as a length or count.
    pub fn packed_len(&mut self) -> Read<usize> {
        usize::try_from(self.packed()?).map_err(|_| Corrupt("a length beyond memory"))
    }

    /// Bytes whose length stands before them in `width` bytes.
    #[inline]
    pub fn sized(&mut self, width: usize) -> Read<&'a [u8]> {
        let length = self.uint(width)?;
        let length = usize::try_from(length).map_err(|_| Corrupt("a length beyond memory"))?;
        self.take(length)
    }
}

/// One bit a column, the first column in the lowest bit of the first byte.
#[derive(Clone, Copy, Debug)]
pub struct Bitmap<'a>(&'a [u8]);

impl<'a> Bitmap<'a> {
    /// The bits of `columns` columns.
    pub fn read(cursor: &mut Cursor<'a>, columns: usize) -> Read<Bitmap<'a>> {
        cursor.take(columns.div_ceil(8)).map(Bitmap)
    }

    /// Whether a column's bit is set; one beyond the end is not.
    #[inline]
    pub fn is_set(&self, column: usize) -> bool {
        self.0
            .get(column / 8)
            .is_some_and(|byte| byte >> (column % 8) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_order() {
        let mut cursor = Cursor::new(&[1, 2, 3, 0xfc, 1, 2, 0xfd, 1, 0, 0, 7]);
        assert_eq!(cursor.uint(2), Ok(0x0201));
        assert_eq!(cursor.uint_be(1), Ok(3));
        assert_eq!(cursor.packed(), Ok(0x0201));
        assert_eq!(cursor.packed(), Ok(1));
        assert_eq!(cursor.packed(), Ok(7));
        assert!(cursor.packed().is_err());
    }

    #[test]
    fn lengths_are_checked() {
        assert!(Cursor::new(&[5, 1]).sized(1).is_err());
        assert!(Cursor::new(&[255; 9]).sized(8).is_err());
        assert_eq!(Cursor::new(&[1, 9]).sized(1), Ok(&[9][..]));
        let bits = Bitmap::read(&mut Cursor::new(&[0b101]), 3).unwrap();
        assert_eq!(
            [0, 1, 2, 9].map(|i| bits.is_set(i)),
            [true, false, true, false]
        );
    }
}
