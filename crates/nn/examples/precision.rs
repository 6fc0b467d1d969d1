//! What bf16 tiles gain and cost: time of products beside the f32 kernel, alternating in one run.
use backcast_core::Key;
use backcast_nn::*;
use std::{cell::RefCell, time::Instant};

fn main() {
    let shapes: &[(usize, [usize; 3], &str)] = &[
        (1, [256, 256, 256], "NN"),
        (1, [256, 256, 256], "NT"),
        (1, [256, 256, 256], "TN"),
        (1, [7936, 256, 256], "NN"),
        (1, [7936, 256, 256], "NT"),
        (1, [256, 7936, 256], "TN"),
        (1, [256, 23, 256], "NN"),
        (1, [23, 256, 256], "TN"),
        (1, [256, 256, 1], "NN"),
        (1, [256, 1, 256], "NT"),
        (7, [256, 200, 200], "NN"),
        (7, [256, 200, 200], "NT"),
        (7, [200, 256, 200], "TN"),
        (1, [512, 200, 200], "NN"),
        (1, [64, 64, 64], "NN"),
        (1, [64, 64, 64], "TN"),
        (1, [100, 400, 300], "NN"),
        (1, [32, 256, 256], "NN"),
        (1, [16, 256, 256], "NN"),
        (1, [10, 256, 256], "NN"),
        (1, [256, 64, 64], "NN"),
    ];
    for &(members, [m, k, n], form) in shapes {
        let (ta, tb) = (form.starts_with('T'), form.ends_with('T'));
        let mut params = vec![0.0; members * (m * k + k * n)];
        Key::new(1).normal(&mut params);
        let arenas = [Precision::F32, Precision::Split, Precision::Bf16].map(|p| {
            let mut a = Arena::default();
            a.set_precision(p);
            RefCell::new(a)
        });
        let a_shape = if ta { Shape::new(members, k, m) } else { Shape::new(members, m, k) };
        let b_shape = if tb { Shape::new(members, n, k) } else { Shape::new(members, k, n) };
        let flops = 2.0 * (members * m * k * n) as f64;
        let reps = ((2e-4 * 1e11 / flops) as usize).max(1);
        let mut times = [const { vec![] }; 3];
        for round in 0..41 {
            for (arena, times) in arenas.iter().zip(&mut times) {
                let t = Instant::now();
                for _ in 0..reps {
                    let tape = Tape::over(&params, arena);
                    let a = tape.parameter(0, a_shape);
                    let b = tape.parameter(members * m * k, b_shape);
                    a.matmul(b, ta, tb);
                }
                if round > 2 {
                    times.push(t.elapsed().as_secs_f64() / reps as f64);
                }
            }
        }
        let [f, s, b] = times.map(|mut t| {
            t.sort_by(f64::total_cmp);
            [t[0], t[t.len() / 2]]
        });
        println!(
            "{members}x[{m},{k},{n}] {form}: f32 {:.1} us {:.0} GF | split {:.2}x {:.0} GF | bf16 {:.2}x {:.0} GF || best {:.1} us {:.2} {:.2}",
            f[1] * 1e6, flops / f[1] / 1e9, f[1] / s[1], flops / s[1] / 1e9, f[1] / b[1], flops / b[1] / 1e9, f[0] * 1e6, f[0]/s[0], f[0]/b[0]
        );
    }
}
