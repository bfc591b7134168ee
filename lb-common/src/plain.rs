//! The one macro that makes a type fit to be a map key or value: size asserted, no padding, `Pod` for the user's half.

/// Declares `$ty` as plain bytes of exactly `$size` bytes.
///
/// The size is asserted at compile time, and so is the absence of padding: the sizes of the named fields must add up.
/// Map values with padding leak kernel stack bytes and make keys compare unequal, hence the check.
macro_rules! plain {
    ($ty:ty, $size:literal, { $($field:tt : $fty:ty),+ $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$ty>() == $size, concat!(stringify!($ty), ": unexpected size"));
            let sum = 0 $(+ core::mem::size_of::<$fty>())+;
            assert!(sum == $size, concat!(stringify!($ty), ": has padding or an unlisted field"));
            // Every listed field exists and has the listed type.
            #[allow(clippy::allow_attributes_without_reason, dead_code)]
            fn fields(v: &$ty) {
                $( let _: &$fty = &v.$field; )+
            }
        };
        // SAFETY: `#[repr(C)]`, no padding (asserted above), and every field is an integer, an array of integers or a
        // type declared by this macro, for which any bit pattern is valid.
        #[cfg(feature = "aya")]
        unsafe impl aya::Pod for $ty {}
    };
}

pub(crate) use plain;
