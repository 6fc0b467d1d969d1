//! When an episode truly ends, as data, and as pure functions of one transition: for use inside learned models.
//!
//! Observations are those of Gym's MuJoCo tasks and of Adroit. Sources: Gym's `hopper`, `walker2d`, `ant` and `humanoid`; MOPO
//! (arXiv:2005.13239), `static/` folder of the authors' code; OfflineRL-Kit for ant, humanoid and Adroit's pen. Where two of
//! them differ, here is what the environment does: MOPO's hopper function has a misplaced parenthesis that weakens the test for
//! large values, and OfflineRL-Kit ends half-cheetah and walker2d beyond ±100, which no environment does.

use backcast_core::Real;

/// A body that has to stay healthy: the episode ends where *s′* leaves a bound, or, if asked, holds a number that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Every number must be finite.
    pub finite: bool,
    /// Columns of *s′*, from the first on, the number of columns (0: all that follow), and what their values must lie strictly
    /// between.
    pub bounds: &'static [(usize, usize, Real, Real)],
}

/// The next number above and below `x` is outside: bounds here are strict, and Ant's and Humanoid's are not.
const ONE_ULP: Real = 1.0 + Real::EPSILON;

/// z > 0.7 m, |angle| < 0.2 rad, |every number after the height| < 100, all finite.
pub const HOPPER: Rule =
    Rule { finite: true, bounds: &[(0, 1, 0.7, Real::INFINITY), (1, 1, -0.2, 0.2), (1, 0, -100.0, 100.0)] };

/// 0.8 m < z < 2 m, |angle| < 1 rad.
pub const WALKER2D: Rule = Rule { finite: false, bounds: &[(0, 1, 0.8, 2.0), (1, 1, -1.0, 1.0)] };

/// 0.2 m ≤ z ≤ 1 m, all finite.
pub const ANT: Rule = Rule { finite: true, bounds: &[(0, 1, 0.2 / ONE_ULP, ONE_ULP)] };

/// 1 m ≤ z ≤ 2 m.
pub const HUMANOID: Rule = Rule { finite: false, bounds: &[(0, 1, 1.0 / ONE_ULP, 2.0 * ONE_ULP)] };

/// Adroit's pen: it must not fall below 0.075 m.
pub const PEN: Rule = Rule { finite: false, bounds: &[(26, 1, 0.075 / ONE_ULP, Real::INFINITY)] };

impl Rule {
    /// Whether `s2` ends the episode. A number that is not one lies between no bounds.
    ///
    /// # Panics
    /// If `s2` has fewer columns than the rule names.
    pub fn ends(&self, s2: &[Real]) -> bool {
        let holds = |&(first, count, low, high): &(usize, usize, Real, Real)| {
            let columns = if count == 0 { &s2[first..] } else { &s2[first..first + count] };
            columns.iter().all(|x| *x > low && *x < high)
        };
        !self.bounds.iter().all(holds) || (self.finite && s2.iter().any(|x| !x.is_finite()))
    }
}

/// A rule's function of a transition.
macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $rule:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name(_: &[Real], _: &[Real], s2: &[Real]) -> bool {
            $rule.ends(s2)
        }
    )*};
}

functions! {
    /// [`HOPPER`].
    hopper = HOPPER;
    /// [`WALKER2D`].
    walker2d = WALKER2D;
    /// [`ANT`].
    ant = ANT;
    /// [`HUMANOID`].
    humanoid = HUMANOID;
    /// [`PEN`].
    pen = PEN;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_leaning_and_nonsense_end_an_episode() {
        let up = [1.25, 0.0, 0.0, 99.0];
        assert!(!hopper(&[], &[], &up) && !walker2d(&[], &[], &up));
        for (i, bad) in [(0, 0.7), (1, 0.2), (3, -100.0), (2, Real::NAN), (0, Real::INFINITY)] {
            let mut s2 = up;
            s2[i] = bad;
            assert!(hopper(&[], &[], &s2), "{s2:?}");
        }
        for (i, bad) in [(0, 0.8), (0, 2.0), (1, -1.0), (0, Real::NAN)] {
            let mut s2 = up;
            s2[i] = bad;
            assert!(walker2d(&[], &[], &s2), "{s2:?}");
        }
    }

    #[test]
    fn bounds_that_belong_to_the_healthy_do() {
        let ends = |f: backcast_core::Termination, z: Real| f(&[], &[], &[z, 0.0]);
        assert!(!ends(ant, 0.2) && !ends(ant, 1.0) && ends(ant, 0.199) && ends(ant, 1.001));
        assert!(!ends(humanoid, 1.0) && !ends(humanoid, 2.0) && ends(humanoid, 0.999) && ends(humanoid, 2.001));
        assert!(ant(&[], &[], &[0.5, Real::NAN]) && !humanoid(&[], &[], &[1.5, Real::NAN]));
        let mut hand = [0.0; 45];
        hand[26] = 0.075;
        assert!(!pen(&[], &[], &hand));
        hand[26] = 0.0749;
        assert!(pen(&[], &[], &hand));
    }
}
