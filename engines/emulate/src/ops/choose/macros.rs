//! A function of many by a number that is known when code is decoded.

/// A function for each width.
macro_rules! width {
    ($bytes:expr, |$W:ident| $function:expr) => {
        match $bytes {
            1 => {
                type $W = Byte;
                Some($function as Run<'_>)
            }
            _ => width_wide!($bytes, |$W| $function),
        }
    };
}

/// A function for each width but bytes.
macro_rules! width_wide {
    ($bytes:expr, |$W:ident| $function:expr) => {
        match $bytes {
            2 => {
                type $W = Short;
                Some($function as Run<'_>)
            }
            4 => {
                type $W = Long;
                Some($function as Run<'_>)
            }
            8 => {
                type $W = Quad;
                Some($function as Run<'_>)
            }
            _ => None,
        }
    };
}

/// A function for each way to address memory; one of an option.
macro_rules! way {
    ($way:expr, |$A:ident| $function:expr) => {
        match $way {
            Way::Based => {
                type $A = Based;
                $function
            }
            Way::Indexed => {
                type $A = Indexed;
                $function
            }
            Way::Scaled => {
                type $A = Scaled;
                $function
            }
            Way::Absolute => {
                type $A = Absolute;
                $function
            }
            Way::InFs => {
                type $A = InFs;
                $function
            }
            Way::InGs => {
                type $A = InGs;
                $function
            }
        }
    };
}

/// A function for each condition; one of an option.
macro_rules! condition {
    ($number:expr, |$C:ident| $function:expr) => {
        condition!(@ $number, $C, $function, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $number:expr, $C:ident, $function:expr, $($value:literal)*) => {
        match $number {
            $($value => {
                const $C: usize = $value;
                $function
            })*
            _ => None,
        }
    };
}

/// A function that works the flags out, or not.
macro_rules! flags {
    ($keeps:expr, |$F:ident| $function:expr) => {
        if $keeps {
            const $F: bool = true;
            $function
        } else {
            const $F: bool = false;
            $function
        }
    };
}

pub(super) use {condition, flags, way, width, width_wide};
