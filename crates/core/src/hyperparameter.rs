//! A hyperparameter said once: [`hyperparameters!`](crate::hyperparameters) declares its name, type, default, range, unit and meaning.
//! The struct, its defaults, its checks, what `explain` prints, the book's tables and the schema of experiment files all come from that.

use crate::{ConfigError, Real};

/// What a number may be. Everything must be finite besides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Domain {
    low: f64,
    high: f64,
    open: bool,
    most: usize,
    unit: &'static str,
}

/// Any finite number.
pub const ANY: Domain = Domain { low: f64::NEG_INFINITY, high: f64::INFINITY, open: false, most: usize::MAX, unit: "" };
/// Above 0: learning rates, temperatures, widths.
pub const POSITIVE: Domain = Domain { low: 0.0, open: true, ..ANY };
/// Not below 0: weights and bounds.
pub const NON_NEGATIVE: Domain = Domain { low: 0.0, ..ANY };
/// In [0, 1]: discounts, shares, quantiles.
pub const SHARE: Domain = Domain { low: 0.0, high: 1.0, ..ANY };
/// In (0, 1]: averaging coefficients.
pub const FRACTION: Domain = Domain { open: true, ..SHARE };
/// At least 1: counts of things that there must be.
pub const COUNT: Domain = Domain { low: 1.0, ..ANY };

impl Domain {
    /// `low ..= high`.
    pub const fn within(low: f64, high: f64) -> Self {
        Self { low, high, ..ANY }
    }

    /// A list of 1 to `most` numbers, each at least 1: the hidden layers of a net.
    pub const fn layers(most: usize) -> Self {
        Self { most, ..COUNT }
    }

    /// The same numbers, counted in `unit`.
    pub const fn unit(self, unit: &'static str) -> Self {
        Self { unit, ..self }
    }

    /// What the number counts; empty where it has no unit.
    pub fn unit_name(self) -> &'static str {
        self.unit
    }

    /// The smallest number, whether it is excluded, and the greatest; none where there is no bound.
    pub fn bounds(self) -> (Option<f64>, bool, Option<f64>) {
        let bound = |x: f64| x.is_finite().then_some(x);
        (bound(self.low), self.open, bound(self.high))
    }

    /// The most numbers of a list, if that is bounded.
    pub fn most(self) -> Option<usize> {
        (self.most != usize::MAX).then_some(self.most)
    }

    fn holds(self, x: f64) -> bool {
        let above = if self.open { x > self.low } else { x >= self.low };
        x.is_finite() && above && x <= self.high
    }

    fn check(self, field: &'static str, x: f64, written: &dyn std::fmt::Display) -> Result<(), ConfigError> {
        ConfigError::unless(self.holds(x), field, format!("is {written}; it must be {self}"))
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, open, high) = self.bounds();
        match (low, high) {
            (None, None) => write!(f, "a finite number")?,
            (Some(low), None) if open => write!(f, "above {low}")?,
            (Some(low), None) => write!(f, "at least {low}")?,
            (low, high) => {
                let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
                write!(f, "in {}{low}, {high}]", if open { "(" } else { "[" })?;
            }
        }
        Ok(())
    }
}

/// The form of a value in an experiment file.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A text.
    Text,
    /// A list of such values.
    List(Box<Kind>),
    /// Such a value, or the key is left out.
    Optional(Box<Kind>),
    /// One of these words, each with its meaning.
    Choice(Vec<(String, &'static str)>),
    /// A table with these keys.
    Table(&'static [Hyperparameter]),
    /// Something else, which its own documentation describes.
    Other,
}

/// One declared hyperparameter.
#[derive(Clone, Copy, Debug)]
pub struct Hyperparameter {
    /// The key in an experiment file.
    pub name: &'static str,
    /// What it means, a sentence or more.
    pub about: &'static str,
    /// What it may be, and its unit.
    pub domain: Domain,
    /// Its form.
    pub kind: fn() -> Kind,
}

/// A type that a hyperparameter may have.
pub trait Value {
    /// Its form in a file.
    fn kind() -> Kind;

    /// The number it is.
    fn number(&self) -> Option<f64> {
        None
    }

    /// The first number called `name` within it, if it is a table.
    fn find(&self, _name: &str) -> Option<f64> {
        None
    }

    /// Whether it is in `domain`; the complaint names `field`.
    fn check_in(&self, _domain: Domain, _field: &'static str) -> Result<(), ConfigError> {
        Ok(())
    }
}

/// A struct that [`hyperparameters!`](crate::hyperparameters) declared.
pub trait Hyperparameters: Default + Value {
    /// Every hyperparameter, in order.
    const DECLARED: &'static [Hyperparameter];

    /// Whether every value is in its range, and values go together.
    ///
    /// # Errors
    /// The first field that makes no sense, and what it must be instead.
    fn check(&self) -> Result<(), ConfigError>;
}

impl Value for Real {
    fn kind() -> Kind {
        Kind::Number
    }

    #[allow(clippy::unnecessary_cast, reason = "single precision is the rule")]
    fn number(&self) -> Option<f64> {
        Some(*self as f64)
    }

    fn check_in(&self, domain: Domain, field: &'static str) -> Result<(), ConfigError> {
        #[allow(clippy::unnecessary_cast, reason = "single precision is the rule")]
        domain.check(field, *self as f64, self)
    }
}

macro_rules! integers {
    ($($Integer:ty)*) => {$(
        impl Value for $Integer {
            fn kind() -> Kind {
                Kind::Integer
            }

            fn number(&self) -> Option<f64> {
                Some(*self as f64)
            }

            fn check_in(&self, domain: Domain, field: &'static str) -> Result<(), ConfigError> {
                domain.check(field, *self as f64, self)
            }
        }
    )*};
}
integers!(u64 usize);

impl Value for bool {
    fn kind() -> Kind {
        Kind::Boolean
    }
}

impl Value for String {
    fn kind() -> Kind {
        Kind::Text
    }
}

impl<T: Value> Value for Option<T> {
    fn kind() -> Kind {
        Kind::Optional(Box::new(T::kind()))
    }

    fn check_in(&self, domain: Domain, field: &'static str) -> Result<(), ConfigError> {
        self.as_ref().map_or(Ok(()), |value| value.check_in(domain, field))
    }
}

impl<T: Value + std::fmt::Debug> Value for Vec<T> {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn check_in(&self, domain: Domain, field: &'static str) -> Result<(), ConfigError> {
        if let Some(most) = domain.most() {
            let sound = (1..=most).contains(&self.len()) && self.iter().all(|x| x.check_in(domain, field).is_ok());
            return ConfigError::unless(sound, field, format!("is {self:?}; give 1 to {most} numbers, each {domain}"));
        }
        self.iter().try_for_each(|value| value.check_in(domain, field))
    }
}

impl<T: Value, const N: usize> Value for [T; N] {
    fn kind() -> Kind {
        Kind::List(Box::new(T::kind()))
    }

    fn check_in(&self, domain: Domain, field: &'static str) -> Result<(), ConfigError> {
        self.iter().try_for_each(|value| value.check_in(domain, field))
    }
}

/// Declares a struct of hyperparameters: for each a meaning, a name, a type, a default and, if not every finite number will do, a
/// [`Domain`]. Checks of several values together stand at the end.
///
/// ```
/// use backcast_core::{hyperparameters, ConfigError, FRACTION, Hyperparameters, POSITIVE, Real, SHARE};
///
/// hyperparameters! {
///     /// Settings of a learner.
///     pub struct Config {
///         /// Discount γ.
///         gamma: Real = 0.99, SHARE;
///         /// Learning rate.
///         lr: Real = 3e-4, POSITIVE.unit("per update");
///         /// Averaging coefficient of the target.
///         tau: Real = 0.005, FRACTION;
///     }
///     together(config) {
///         ConfigError::unless(config.lr < 1.0, "lr", "is 1 or more; nothing learns so fast")
///     }
/// }
///
/// assert_eq!(Config::default().gamma, 0.99);
/// assert_eq!(Config::DECLARED[0].about.trim(), "Discount γ.");
/// let error = Config { gamma: 1.5, ..Default::default() }.check().unwrap_err();
/// assert_eq!(error.to_string(), "`gamma` is 1.5; it must be in [0, 1]");
/// ```
#[macro_export]
macro_rules! hyperparameters {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $Name:ident {
            $(
                $(#[doc = $about:literal])*
                $(#[serde($($serde:tt)*)])?
                $field:ident : $Type:ty = $default:expr $(, $domain:expr)? ;
            )*
        }
        $(together($config:ident) $together:block)?
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        $vis struct $Name {
            $(
                $(#[doc = $about])*
                $(#[serde($($serde)*)])?
                pub $field: $Type,
            )*
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $Name {
            /// Whether every value is in its range, and values go together.
            ///
            /// # Errors
            /// The first field that makes no sense, and what it must be instead.
            #[allow(dead_code, reason = "a struct within a function may never be checked")]
            $vis fn check(&self) -> Result<(), $crate::ConfigError> {
                $crate::Hyperparameters::check(self)
            }
        }

        impl $crate::Hyperparameters for $Name {
            const DECLARED: &'static [$crate::Hyperparameter] = &[$(
                $crate::Hyperparameter {
                    name: stringify!($field),
                    about: concat!($($about, "\n",)*),
                    domain: $crate::first_of!($($domain,)? $crate::ANY),
                    kind: <$Type as $crate::Value>::kind,
                },
            )*];

            fn check(&self) -> Result<(), $crate::ConfigError> {
                for declared in Self::DECLARED {
                    $(
                        if declared.name == stringify!($field) {
                            $crate::Value::check_in(&self.$field, declared.domain, declared.name)?;
                        }
                    )*
                }
                $(
                    let $config = self;
                    $together?;
                )?
                Ok(())
            }
        }

        impl $crate::Value for $Name {
            fn kind() -> $crate::Kind {
                $crate::Kind::Table(<Self as $crate::Hyperparameters>::DECLARED)
            }

            fn find(&self, name: &str) -> Option<f64> {
                $(
                    let found = match name == stringify!($field) {
                        true => $crate::Value::number(&self.$field),
                        false => $crate::Value::find(&self.$field, name),
                    };
                    if found.is_some() {
                        return found;
                    }
                )*
                None
            }

            fn check_in(&self, _: $crate::Domain, _: &'static str) -> Result<(), $crate::ConfigError> {
                $crate::Hyperparameters::check(self)
            }
        }
    };
}

/// The first of several expressions.
#[doc(hidden)]
#[macro_export]
macro_rules! first_of {
    ($first:expr $(, $more:expr)*) => {
        $first
    };
}

/// Declares an enum whose variants are the words that a hyperparameter may be, in snake case.
///
/// ```
/// use backcast_core::{choices, Kind, Value};
///
/// choices! {
///     /// A kernel.
///     pub enum Kernel {
///         /// exp(−‖x − y‖₁/σ).
///         #[default]
///         Laplacian,
///         /// exp(−‖x − y‖²/2σ).
///         Gaussian,
///     }
/// }
///
/// let Kind::Choice(words) = Kernel::kind() else { panic!("a choice") };
/// assert_eq!(words[1].0, "gaussian");
/// ```
#[macro_export]
macro_rules! choices {
    (
        $(#[$attribute:meta])*
        $vis:vis enum $Name:ident {
            $(
                $(#[doc = $about:literal])*
                $(#[default $($is_default:tt)?])?
                $Variant:ident
            ),* $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        $vis enum $Name {
            $(
                $(#[doc = $about])*
                $(#[default $($is_default)?])?
                $Variant,
            )*
        }

        impl $crate::Value for $Name {
            fn kind() -> $crate::Kind {
                $crate::Kind::Choice(vec![$(($crate::snake_case(stringify!($Variant)), concat!($($about, "\n",)*))),*])
            }
        }
    };
}

/// `SomeName` as `some_name`, as serde has it.
pub fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    hyperparameters! {
        /// For a test.
        struct Inner {
            /// Above 0.
            lr: Real = 1e-3, POSITIVE;
        }
    }

    hyperparameters! {
        /// For a test.
        struct Outer {
            /// A share.
            share: Real = 0.5, SHARE;
            /// None, or at least 1,
            /// counted in steps.
            every: Option<u64> = None, COUNT.unit("steps");
            /// Layers.
            hidden: Vec<usize> = vec![8], Domain::layers(3);
            /// Others.
            inner: Inner = Inner::default();
        }
        together(outer) {
            ConfigError::unless(outer.share < 1.0 || outer.every.is_some(), "share", "is 1, which asks for `every`")
        }
    }

    #[test]
    fn the_first_value_outside_is_named() {
        let bad = |change: fn(&mut Outer)| {
            let mut config = Outer::default();
            change(&mut config);
            config.check().map_err(|e| e.to_string())
        };
        assert_eq!(bad(|_| ()), Ok(()));
        for (change, complaint) in [
            ((|c| c.share = -0.5) as fn(&mut Outer), "`share` is -0.5; it must be in [0, 1]"),
            (|c| c.share = Real::NAN, "`share` is NaN; it must be in [0, 1]"),
            (|c| c.share = 1.0, "`share` is 1, which asks for `every`"),
            (|c| c.every = Some(0), "`every` is 0; it must be at least 1"),
            (|c| c.hidden = vec![8, 0], "`hidden` is [8, 0]; give 1 to 3 numbers, each at least 1"),
            (|c| c.hidden = vec![8; 4], "`hidden` is [8, 8, 8, 8]; give 1 to 3 numbers, each at least 1"),
            (|c| c.inner.lr = 0.0, "`lr` is 0; it must be above 0"),
        ] {
            assert_eq!(bad(change), Err(complaint.to_owned()));
        }
    }

    #[test]
    fn what_is_declared_can_be_read() {
        let every = &Outer::DECLARED[1];
        assert_eq!((every.name, every.domain.unit_name()), ("every", "steps"));
        assert_eq!(every.about, " None, or at least 1,\n counted in steps.\n");
        assert!(matches!((every.kind)(), Kind::Optional(kind) if matches!(*kind, Kind::Integer)));
        assert!(matches!((Outer::DECLARED[3].kind)(), Kind::Table(inner) if inner[0].name == "lr"));
        assert_eq!(["OsrV", "Max", "InverseToPolicy"].map(snake_case), ["osr_v", "max", "inverse_to_policy"]);
    }
}
