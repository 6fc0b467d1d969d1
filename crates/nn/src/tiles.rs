use crate::{Arena, Real, Store, Tape, Var};
use ndarray::{ArrayViewMut2, Axis, Slice, parallel::prelude::*};
use std::{
    cell::RefCell,
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Rows of a tile. What a net of a few hundred units makes of them stays in the inner caches from layer to layer. A multiple of
/// four, as the parts of a draw have to be.
pub const TILE_ROWS: usize = 512;

impl Store {
    /// Values for many rows, a tile of [`TILE_ROWS`] at a time: `f` is given a tape without history and the rows of a tile, and
    /// returns their values, `[1, rows of the tile, cols]`; they are written to `out`, `[rows, cols]`.
    ///
    /// A policy that rolls out from fifty thousand states at once would otherwise write every layer's values to memory and read
    /// them back. Where the store's arena may be [parallel](Arena::set_parallel), tiles are shared out among the threads of the
    /// current rayon pool. The bits depend on neither, as long as `f` draws by [`Tape::normal_from`] and its like.
    ///
    /// # Panics
    /// If the values are of another shape than the tile.
    pub fn in_tiles<F>(&mut self, mut out: ArrayViewMut2<'_, Real>, f: F)
    where
        F: for<'t> Fn(Tape<'t>, Range<usize>) -> Var<'t> + Sync,
    {
        let rows = out.nrows();
        let threads = rayon::current_num_threads();
        if rows > TILE_ROWS && threads > 1 && self.arena_mut().is_parallel() {
            let precision = self.arena_mut().precision();
            let mut spare = std::mem::take(self.spare_arenas());
            spare.resize_with(threads, || {
                let mut arena = Arena::default();
                arena.set_precision(precision);
                Mutex::new(RefCell::new(arena))
            });
            let params = self.params();
            out.axis_chunks_iter_mut(Axis(0), TILE_ROWS).into_par_iter().enumerate().for_each(|(tile, out)| {
                let first = tile * TILE_ROWS;
                let at = rayon::current_thread_index().unwrap_or(0) % spare.len();
                // No task waits while it holds an arena, so that none is contended for long.
                let arena = spare[at].lock().unwrap_or_else(PoisonError::into_inner);
                f(Tape::without_history(params, &arena), first..first + out.nrows()).write_to(out);
            });
            *self.spare_arenas() = spare;
            return;
        }
        for first in (0..rows).step_by(TILE_ROWS) {
            let tile = first..rows.min(first + TILE_ROWS);
            let to = out.slice_axis_mut(Axis(0), Slice::from(tile.clone()));
            f(self.tape_without_history(), tile).write_to(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Gaussian, Init, Mlp};
    use backcast_core::Key;
    use ndarray::{Array2, s};

    /// As one product over all rows, in tiles, and in tiles on several threads.
    #[test]
    fn tiles_and_threads_leave_the_bits_alone() {
        let mut store = Store::default();
        let net = Mlp::new(&mut store, "net", &[3, 40, 40, 4], 1, Activation::Relu, Init::FanIn, Key::new(1));
        let rows = 3 * TILE_ROWS + 77;
        let mut x = Array2::<Real>::zeros((rows, 3));
        Key::new(2).normal(x.as_slice_mut().unwrap());
        let key = Key::new(3);
        let sample = |tape: Tape<'_>, store: &Mlp, from: Range<usize>| -> Vec<Real> {
            let y = Gaussian::from_columns(store.forward(tape.input(x.slice(s![from.clone(), ..]))), -5.0, 2.0);
            y.sample_from(key, from.start).read(<[Real]>::to_vec)
        };
        let whole = sample(store.tape(), &net, 0..rows);
        let tiled = |store: &mut Store| {
            let mut out = Array2::<Real>::zeros((rows, 2));
            store.in_tiles(out.view_mut(), |tape, tile| {
                let y = net.forward(tape.input(x.slice(s![tile.clone(), ..])));
                Gaussian::from_columns(y, -5.0, 2.0).sample_from(key, tile.start)
            });
            out.into_raw_vec_and_offset().0
        };
        assert_eq!(tiled(&mut store), whole);
        store.arena_mut().set_parallel(true);
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| tiled(&mut store)), whole, "{threads} threads");
        }
    }
}
