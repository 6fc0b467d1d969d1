//! The physics of a sphere pushed through a maze, as MuJoCo computes it, in closed form.
//!
//! A step is: clip the action and the velocity; find the contacts with the wall boxes; solve for the acceleration that
//! minimises MuJoCo's constrained cost; integrate with the semi-implicit Euler method, joint damping implicit.
//!
//! ## Contacts
//! MuJoCo's contacts are soft (*Convex and analytically-invertible dynamics with contacts and constraints*, Todorov, ICRA
//! 2014, and the *Computation* chapter of its documentation). For a frictionless contact with outward normal **n**, gap
//! *r* = distance − margin (negative when active), and default parameters:
//!
//! | quantity | formula | value |
//! |---|---|---|
//! | impedance d(r) | 0.9 + 0.05·y(∣r∣/width), width 1 mm, y two parabolas joined at ½ | 0.9 … 0.95 |
//! | reference acceleration | aref = −b·(n·v) − k·d(r)·r | b = 2/(d₁τ), k = 1/(d₁τ)², d₁ = 0.95, τ = 0.02 s |
//! | regulariser | R = (1 − d)/d · 1/m | |
//! | cost | ½m∣a − a₀∣² + Σ ½ min(0, n·a − aref)²/R | a₀ = acceleration without contacts |
//!
//! The cost is convex and piecewise quadratic in two unknowns, and a sphere can touch at most four boxes of a unit grid, so
//! the minimum is found exactly by trying the (at most 16) sets of active contacts. Both geoms carry a margin of 2 mm, and
//! MuJoCo *adds* them: a sphere feels the wall from 4 mm away. (Releases before the addition used the larger of the two.)
//!
//! Against MuJoCo 4.0.0 in double precision one step differs by less than 1e-12, in and out of contact.

use super::Layout;
use nalgebra::{Matrix2, Vector2};

/// Length of one step *h*, seconds.
pub const TIME_STEP: f64 = 0.01;
/// Radius of the particle, metres.
pub const RADIUS: f64 = 0.1;
/// Density of the particle, kg/m³.
const DENSITY: f64 = 1000.0;
/// Mass of the particle, kilograms: a sphere of density 1000 kg/m³.
pub const MASS: f64 = DENSITY * 4.0 / 3.0 * std::f64::consts::PI * (RADIUS * RADIUS * RADIUS);
/// Force per unit of action along each axis, newtons.
pub const GEAR: f64 = 100.0;
/// Viscous damping of each axis, N·s/m.
pub const DAMPING: f64 = 1.0;
/// Each velocity component is clipped to this before a step, m/s. One step can exceed it: about 5.23 is the most.
pub const MAX_SPEED: f64 = 5.0;
/// Observation coordinates + this = MuJoCo's world coordinates, metres.
pub const WORLD_OFFSET: f64 = 1.2;
/// Contacts act from this distance on, metres: the sum of the two geoms' margins of 2 mm.
pub const CONTACT_MARGIN: f64 = 0.004;

/// Half the side of a wall box, metres.
const HALF_SIDE: f64 = 0.5;
/// Half the height of a wall box, metres. A centre deeper than this is pushed out upwards, so not in the plane at all.
const HALF_HEIGHT: f64 = 0.2;
/// `solref[0]`: time constant of a contact, seconds (damping ratio 1).
const CONTACT_TIME: f64 = 0.02;
/// `solimp`: impedance at the margin, impedance deep inside, and the depth over which one becomes the other (metres).
const IMPEDANCE: (f64, f64, f64) = (0.9, 0.95, 0.001);

/// Where the particle is and how it moves, in observation coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointState {
    /// (x, y), metres.
    pub position: [f64; 2],
    /// (ẋ, ẏ), metres per second.
    pub velocity: [f64; 2],
}

/// One contact of the particle with a wall box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contact {
    /// Distance between the surfaces, metres; negative when they overlap.
    pub distance: f64,
    /// Unit vector from the wall to the particle.
    pub normal: [f64; 2],
}

/// The contacts of one configuration: never more than four.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contacts {
    len: usize,
    all: [Option<Contact>; 4],
}

impl Contacts {
    /// The contacts, in row-major order of the wall cells.
    pub fn iter(&self) -> impl Iterator<Item = Contact> + '_ {
        self.all[..self.len].iter().flatten().copied()
    }

    /// How many boxes are touched.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the particle flies free.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, contact: Contact) {
        self.all[self.len] = Some(contact);
        self.len += 1;
    }
}

/// The walls of `layout` that a particle at `position` (observation coordinates, metres) touches.
pub fn contacts(layout: &Layout, position: [f64; 2]) -> Contacts {
    let world = position.map(|x| x + WORLD_OFFSET);
    // A box centred at w + 1 reaches as far as `reach` on both sides: at most two boxes on each axis.
    let reach = HALF_SIDE + RADIUS + CONTACT_MARGIN;
    let [ws, hs] = world.map(|x| (x - 1.0 - reach).ceil() as i64..=(x - 1.0 + reach).floor() as i64);
    let mut found = Contacts::default();
    for w in ws {
        for h in hs.clone() {
            if layout.is_wall(w, h) {
                let centre = [w as f64 + 1.0, h as f64 + 1.0];
                if let Some(contact) = sphere_box(Vector2::from(world) - Vector2::from(centre)) {
                    found.push(contact);
                }
            }
        }
    }
    found
}

/// The contact of a sphere whose centre lies at `offset` from the centre of a wall box.
fn sphere_box(offset: Vector2<f64>) -> Option<Contact> {
    let from_box = offset.map(|x| x - x.clamp(-HALF_SIDE, HALF_SIDE));
    let gap = from_box.x.hypot(from_box.y);
    let contact = if gap > 0.0 {
        Contact { distance: gap - RADIUS, normal: (from_box / gap).into() }
    } else {
        // The centre is inside: out through the nearest face.
        let depth = offset.map(|x| HALF_SIDE - x.abs());
        if depth.min() > HALF_HEIGHT {
            return None;
        }
        let axis = depth.imin();
        let mut normal = [0.0; 2];
        normal[axis] = 1f64.copysign(offset[axis]);
        Contact { distance: -depth[axis] - RADIUS, normal }
    };
    (contact.distance < CONTACT_MARGIN).then_some(contact)
}

/// One step of [`TIME_STEP`] seconds from `state` under `action` (clipped to ±1; [`GEAR`] newtons per unit).
///
/// The velocity is clipped to ±[`MAX_SPEED`] per axis *before* the step, as the benchmark does. Without contacts this is
/// v′ = v + h(100a − v)/(m + h), x′ = x + h·v′.
pub fn advance(layout: &Layout, state: PointState, action: [f64; 2]) -> PointState {
    let velocity = Vector2::from(state.velocity).map(|v| v.clamp(-MAX_SPEED, MAX_SPEED));
    let mut force = GEAR * Vector2::from(action).map(|a| a.clamp(-1.0, 1.0)) - DAMPING * velocity;
    let contacts = contacts(layout, state.position);
    if !contacts.is_empty() {
        let free = force / MASS;
        force += MASS * (constrained_acceleration(&contacts, velocity, free) - free);
    }
    let velocity = velocity + TIME_STEP * force / (MASS + TIME_STEP * DAMPING);
    let position = Vector2::from(state.position) + TIME_STEP * velocity;
    PointState { position: position.into(), velocity: velocity.into() }
}

/// One row of the constraint cost: ½ min(0, n·a − reference)²·weight.
#[derive(Clone, Copy, Default)]
struct Row {
    normal: Vector2<f64>,
    reference: f64,
    weight: f64,
}

impl Row {
    fn new(contact: Contact, velocity: Vector2<f64>) -> Self {
        let (_, deep, _) = IMPEDANCE;
        let (damping, stiffness) = (2.0 / (deep * CONTACT_TIME), 1.0 / (deep * CONTACT_TIME).powi(2));
        let r = contact.distance - CONTACT_MARGIN;
        let d = impedance(r);
        let normal = Vector2::from(contact.normal);
        let approach = normal.dot(&velocity);
        Self { normal, reference: -damping * approach - stiffness * d * r, weight: d / (1.0 - d) * MASS }
    }

    fn is_active(&self, acceleration: Vector2<f64>) -> bool {
        self.normal.dot(&acceleration) < self.reference
    }
}

/// d(r): how hard a contact is, between 0 (absent) and 1 (rigid).
fn impedance(r: f64) -> f64 {
    let (shallow, deep, width) = IMPEDANCE;
    let x = r.abs() / width;
    let y = match x {
        x if x >= 1.0 => 1.0,
        x if x <= 0.5 => 2.0 * x * x,
        x => 1.0 - 2.0 * (1.0 - x) * (1.0 - x),
    };
    shallow + y * (deep - shallow)
}

/// The minimum of the cost in the module's table, by trial of every set of active contacts; m/s².
fn constrained_acceleration(contacts: &Contacts, velocity: Vector2<f64>, free: Vector2<f64>) -> Vector2<f64> {
    let mut rows = [Row::default(); 4];
    for (row, contact) in rows.iter_mut().zip(contacts.iter()) {
        *row = Row::new(contact, velocity);
    }
    let rows = &rows[..contacts.len()];
    for set in 0..1_u32 << rows.len() {
        let chosen = |i: usize| set >> i & 1 == 1;
        // Normal equations (m·I + Σ w·n·nᵀ) a = m·a₀ + Σ w·aref·n of the chosen rows.
        let (mut xx, mut xy, mut yy) = (MASS, 0.0, MASS);
        let mut right = MASS * free;
        for (_, row) in rows.iter().enumerate().filter(|(i, _)| chosen(*i)) {
            let [x, y] = row.normal.into();
            xx += row.weight * x * x;
            xy += row.weight * x * y;
            yy += row.weight * y * y;
            right += row.weight * row.reference * row.normal;
        }
        // Cramer's rule: two unknowns need no decomposition.
        let acceleration = Matrix2::new(yy, -xy, -xy, xx) * right / Matrix2::new(xx, xy, xy, yy).determinant();
        if rows.iter().enumerate().all(|(i, row)| row.is_active(acceleration) == chosen(i)) {
            return acceleration;
        }
    }
    // The cost is strictly convex, so some set is consistent, unless the input is not finite or rounding puts a contact on
    // the very edge of being active, where it exerts no force.
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::{abs_diff_eq, assert_abs_diff_eq};

    #[test]
    fn free_flight_is_the_closed_form() {
        let open = Layout::named("open").unwrap();
        let (state, action) = (PointState { position: [2.0, 3.0], velocity: [0.3, -0.2] }, [0.7, -0.4_f64]);
        assert!(contacts(&open, state.position).is_empty());
        let next = advance(&open, state, action);
        for (i, a) in action.into_iter().enumerate() {
            let v = state.velocity[i] + 0.01 * (100.0 * a - state.velocity[i]) / (4.188_790_204_786_391 + 0.01);
            assert_abs_diff_eq!(next.velocity[i], v, epsilon = 1e-15);
            assert_abs_diff_eq!(next.position[i], state.position[i] + 0.01 * v, epsilon = 1e-15);
        }
    }

    #[test]
    fn the_velocity_is_clipped_before_and_not_after_the_step() {
        let open = Layout::named("open").unwrap();
        let fast = PointState { position: [2.0, 3.0], velocity: [50.0, -50.0] };
        let next = advance(&open, fast, [9.0, -9.0]);
        let clipped = advance(&open, PointState { velocity: [5.0, -5.0], ..fast }, [1.0, -1.0]);
        assert_eq!(next, clipped);
        assert!(next.velocity[0] > 5.22 && next.velocity[0] < 5.23, "{}", next.velocity[0]);
    }

    #[test]
    fn a_pushed_particle_comes_to_rest_against_the_wall() {
        let umaze = Layout::umaze();
        let mut state = PointState { position: [1.0, 1.0], velocity: [0.0, 0.0] };
        (0..500).for_each(|_| state = advance(&umaze, state, [-1.0, 0.0]));
        // The wall's face is at x = 0.3, the radius 0.1; full force leaves the soft contact 3 mm apart.
        assert!(abs_diff_eq!(state.position[0], 0.403, epsilon = 5e-4), "{state:?}");
        assert_abs_diff_eq!(state.velocity[0], 0.0, epsilon = 1e-9);
        assert_abs_diff_eq!(state.position[1], 1.0, epsilon = 1e-12);
    }

    #[test]
    fn at_most_four_boxes_touch_and_a_corner_pushes_diagonally() {
        let all = Layout::parse("###\n###\n##O").unwrap();
        assert_eq!(contacts(&all, [0.3, 0.3]).len(), 4);
        // The only free cell, (2, 2), begins at 1.3 in both coordinates.
        let near = contacts(&all, [1.35, 1.35]);
        assert_eq!(near.len(), 3);
        assert!(near.iter().any(|c| abs_diff_eq!(c.normal[0], c.normal[1], epsilon = 1e-12)));
    }

    #[test]
    fn nothing_panics_on_wild_states() {
        let umaze = Layout::umaze();
        for x in [f64::NAN, f64::INFINITY, -1e300, 1e18, 0.0] {
            let _ = advance(&umaze, PointState { position: [x, -x], velocity: [x, x] }, [x, x]);
        }
    }
}
