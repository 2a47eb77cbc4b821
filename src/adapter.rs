//! Traits for what stands before an implementation of another one, and passes on what it does not change.

/// Makes a trait whose methods are those of another, passed on; whatever has it has the other too.
macro_rules! adapter {
    (
        $(#[$doc:meta])*
        $adapter:ident: $role:ident $(+ $bound:path)* {
            $($(#[$inner_doc:meta])* fn $inner:ident($($inner_self:tt)*) -> $inner_type:ty;)+
            $(pass on to $to:ident: fn $method:ident($this:ident: $this_type:ty $(, $arg:ident: $type:ty)*)
                $(-> $answer:ty)?;)+
        }
    ) => {
        $(#[$doc])*
        pub trait $adapter: Send $(+ $bound)* {
            $($(#[$inner_doc])* fn $inner($($inner_self)*) -> $inner_type;)+
            $(
                #[doc = concat!("[`", stringify!($role), "::", stringify!($method), "`]. Default: passed on.")]
                #[allow(clippy::missing_errors_doc, reason = "the trait that is passed on to has it")]
                fn $method($this: $this_type $(, $arg: $type)*) $(-> $answer)? {
                    $role::$method($this.$to() $(, $arg)*)
                }
            )+
        }

        impl<T: $adapter $(+ $bound)*> $role for T {
            $(
                fn $method($this: $this_type $(, $arg: $type)*) $(-> $answer)? {
                    $adapter::$method($this $(, $arg)*)
                }
            )+
        }
    };
}

pub(crate) use adapter;
