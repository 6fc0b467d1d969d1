//! When an episode truly ends, as pure functions of one transition: for use inside learned models.
//!
//! Observations are those of Gym's MuJoCo tasks: `obs[0]` is the torso's height (metres), `obs[1]` its angle (radians).
//! Sources: Gym's `hopper`, `walker2d`; MOPO (arXiv:2005.13239), `static/` folder of the authors' code. MOPO's hopper
//! function has a misplaced parenthesis that weakens the test for large values; the intended test is here.

use backcast_core::Real;

/// Hopper: ends unless all is finite, |s′ᵢ| < 100 from the angle on, the height above 0.7 m and the angle within ±0.2 rad.
pub fn hopper(_: &[Real], _: &[Real], s2: &[Real]) -> bool {
    let healthy =
        s2.iter().all(|x| x.is_finite()) && s2[1..].iter().all(|x| x.abs() < 100.0) && s2[0] > 0.7 && s2[1].abs() < 0.2;
    !healthy
}

/// Walker2d: ends unless 0.8 m < height < 2 m and the angle is within ±1 rad.
pub fn walker2d(_: &[Real], _: &[Real], s2: &[Real]) -> bool {
    let healthy = s2[0] > 0.8 && s2[0] < 2.0 && s2[1].abs() < 1.0;
    !healthy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_leaning_and_nonsense_end_an_episode() {
        let up = [1.25, 0.0, 0.0, 99.0];
        assert!(!hopper(&[], &[], &up) && !walker2d(&[], &[], &up));
        for (i, bad) in [(0, 0.7), (1, 0.2), (3, -100.0), (2, Real::NAN)] {
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
}
