//! Apache Thrift's compact protocol, as far as Parquet's footer needs it. Whatever is claimed, each element of anything has
//! a byte at least that must be there, so nothing takes longer than the footer is long.

/// How deep structures may be in each other.
const DEPTH: u32 = 32;

/// What is left of a message. Everything answers `None` where that makes no sense.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// What type a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    True,
    False,
    Byte,
    /// Of 16, 32 and 64 bits, all written alike.
    Integer,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Type {
    fn of(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::True,
            2 => Self::False,
            3 => Self::Byte,
            4..=6 => Self::Integer,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return None,
        })
    }
}

impl<'a> Reader<'a> {
    /// Reads a structure: hands each field's number and type to `take`, which reads its value, or leaves it and answers false.
    pub(super) fn fields(&mut self, mut take: impl FnMut(&mut Self, i64, Type) -> Option<bool>) -> Option<()> {
        let mut number = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            number = match head >> 4 {
                0 => self.integer()?,
                step => number.checked_add(i64::from(step))?,
            };
            let kind = Type::of(head & 15)?;
            if !take(self, number, kind)? {
                self.skip(kind, 0)?;
            }
        }
    }

    /// The type and number of the elements of a list that follow.
    pub(super) fn list(&mut self) -> Option<(Type, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => u64::from(count),
        };
        Some((Type::of(head & 15)?, count))
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    pub(super) fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    /// Skips a value.
    pub(super) fn skip(&mut self, kind: Type, depth: u32) -> Option<()> {
        if depth == DEPTH {
            return None;
        }
        match kind {
            // In a field the type is the value.
            Type::True | Type::False => {}
            Type::Byte => self.take(1).map(drop)?,
            Type::Integer => self.varint().map(drop)?,
            Type::Double => self.take(8).map(drop)?,
            Type::Uuid => self.take(16).map(drop)?,
            Type::Binary => self.binary().map(drop)?,
            Type::Struct => loop {
                let head = self.byte()?;
                if head == 0 {
                    break;
                }
                if head >> 4 == 0 {
                    self.varint()?;
                }
                self.skip(Type::of(head & 15)?, depth + 1)?;
            },
            Type::List => {
                let (kind, count) = self.list()?;
                for _ in 0..count {
                    self.element(kind, depth)?;
                }
            }
            Type::Map => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0x11 } else { self.byte()? };
                let (key, value) = (Type::of(kinds >> 4)?, Type::of(kinds & 15)?);
                for _ in 0..count {
                    self.element(key, depth)?;
                    self.element(value, depth)?;
                }
            }
        }
        Some(())
    }

    fn element(&mut self, kind: Type, depth: u32) -> Option<()> {
        match kind {
            // Outside of fields they have a byte.
            Type::True | Type::False => self.take(1).map(drop),
            kind => self.skip(kind, depth + 1),
        }
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(taken)
    }
}
