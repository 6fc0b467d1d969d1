//! Parameters in one store, a define-by-run tape, MLP modules, distributions, optimisers.
//!
//! Small networks on CPUs, from the kernels up. Parameters of one algorithm live in a [`Store`]; an [`Mlp`] is a `Copy`
//! handle into it; a [`Tape`] computes and records; [`Adam`] differentiates and steps. A single net, a pair of critics and
//! an ensemble are one code path: every tensor is `[members, rows, cols]`.
//!
//! ```
//! use backcast_core::{Key, Uniform};
//! use backcast_nn::{Activation, Adam, Init, Mlp, Store};
//!
//! // Fit y = x₀·x₁ on a fixed batch.
//! let x = Key::new(1).array((256, 2), Uniform::new(-1.0, 1.0));
//! let y = x.map_axis(ndarray::Axis(1), |row| row[0] * row[1]).insert_axis(ndarray::Axis(1));
//!
//! let mut store = Store::default();
//! let net = Mlp::new(&mut store, "net", &[2, 32, 32, 1], 1, Activation::Relu, Init::FanIn, Key::new(2));
//! let mut adam = Adam::new(net.range(), 1e-2);
//! let mut loss = 1.0;
//! for _ in 0..200 {
//!     loss = adam.minimise(&mut store, |tape| {
//!         let prediction = net.forward(tape.input(x.view()));
//!         (prediction - tape.input(y.view())).square().mean()
//!     });
//! }
//! assert!(loss < 0.01, "{loss}");
//! ```
//!
//! # Beside NumPy and PyTorch
//! | here | PyTorch |
//! |---|---|
//! | `store.tape()` | a forward pass begins |
//! | `tape.input(view)` | `torch.from_numpy(x)` |
//! | `x * w + b`, `x.tanh()`, `x.mean()` | the same |
//! | `x.linear(w, b, Activation::Relu)` | `F.relu(F.linear(x, w.T, b))` |
//! | `x.detach()` | `x.detach()` |
//! | `tape.no_grad(\|t\| …)` | `with torch.no_grad(): …` |
//! | `tape.grad(loss, x)` | `torch.autograd.grad(loss, x, create_graph=True)[0]` |
//! | `adam.minimise(&mut store, \|t\| loss)` | `zero_grad(); loss.backward(); step()` |
//!
//! There is no `requires_grad`: a gradient is taken *with respect to* a range of parameters or a value, and nothing is
//! computed for anybody else. Changing parameters while a value of the step is alive does not compile.

#![cfg_attr(feature = "f64", allow(clippy::unnecessary_cast, reason = "`as f64` does something in single precision"))]

mod adam;
mod arena;
mod descent;
mod heads;
mod init;
mod kernels;
mod mlp;
mod op;
mod recorded_draws;
mod shape;
mod store;
mod tape;
mod tiles;
mod vae;
mod var;
mod vjp;

pub use adam::Adam;
pub use arena::Arena;
pub use backcast_core::Real;
#[doc(hidden)]
pub use backcast_core::{Slot, State, under};
pub use descent::{BLOCK_ROWS, Block, Descent, Kept, Rows};
pub use heads::{Gaussian, TanhGaussian, clipped_normal, expectile_loss, soft_clamp};
pub use init::Init;
pub use kernels::{Burst, Isa, Precision, amx_available, isa, multiply_adds};
pub use mlp::{Activation, HIDDEN, Linear, MAX_LAYERS, Mlp, polyak};
pub use recorded_draws::{Draw, RecordedDraws, ReplayError};
pub use shape::Shape;
pub use store::{Parameterised, Store};
pub use tape::{Tape, Var};
pub use tiles::TILE_ROWS;
pub use vae::{LATENT_BOUND, Vae, VaeOutput};

/// The README's example, compiled and run with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
