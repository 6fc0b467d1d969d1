//! Single steps in contact, against steps computed by MuJoCo in double precision (see the header of the fixture).

use approx::abs_diff_eq;
use backcast_envs::maze2d::Layout;
use backcast_envs::maze2d::physics::{PointState, advance, contacts};

#[test]
fn contacts_agree_with_mujoco_in_double_precision() {
    let (mut worst, mut seen) = (0.0_f64, [0; 4]);
    for line in include_str!("fixtures/contacts.csv").lines().filter(|line| !line.starts_with(['#', 'l'])) {
        let fields: Vec<&str> = line.split(',').collect();
        let layout = Layout::named(fields[0]).expect("a published layout");
        let touching: usize = fields[1].parse().unwrap();
        let numbers: Vec<f64> = fields[2..].iter().map(|field| field.parse().unwrap()).collect();
        let [x, y, vx, vy, ax, ay, x2, y2, vx2, vy2] = numbers[..] else { panic!("{line}") };
        assert_eq!(contacts(&layout, [x, y]).len(), touching, "{line}");
        let next = advance(&layout, PointState { position: [x, y], velocity: [vx, vy] }, [ax, ay]);
        let [p, q] = next.position;
        let [u, v] = next.velocity;
        for (ours, theirs) in [(p, x2), (q, y2), (u, vx2), (v, vy2)] {
            worst = worst.max((ours - theirs).abs());
            assert!(abs_diff_eq!(ours, theirs, epsilon = 1e-12), "{line}: {next:?}");
        }
        seen[touching] += 1;
    }
    assert_eq!(seen, [4, 24, 24, 12], "rows per number of contacts; worst deviation {worst:e}");
}
