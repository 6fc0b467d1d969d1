/// A binary tree of sums over non-negative weights: find the leaf under a point, or change a weight, in *O(log n)*.
///
/// Every inner node is computed afresh from its two children, so equal weights give equal bits whatever was set before.
///
/// ```
/// use backcast_data::SumTree;
/// let mut tree = SumTree::new([1.0, 0.0, 3.0]);
/// assert_eq!(tree.total(), 4.0);
/// assert_eq!([0.0, 0.99, 1.0, 3.99].map(|at| tree.find(at)), [0, 0, 2, 2]);
/// tree.set(2, 0.0);
/// assert_eq!(tree.find(0.5), 0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SumTree {
    /// Heap order: the root at 1, the leaves from `base` on.
    nodes: Vec<f64>,
    base: usize,
    len: usize,
}

impl SumTree {
    /// A tree over `weights`.
    ///
    /// # Panics
    /// If a weight is negative, NaN or infinite.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let leaves: Vec<f64> = weights.into_iter().collect();
        let (len, base) = (leaves.len(), leaves.len().next_power_of_two());
        let mut nodes = vec![0.0; 2 * base];
        for (node, weight) in nodes[base..].iter_mut().zip(leaves) {
            *node = checked(weight);
        }
        for i in (1..base).rev() {
            nodes[i] = nodes[2 * i] + nodes[2 * i + 1];
        }
        Self { nodes, base, len }
    }

    /// The number of leaves.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of all weights.
    pub fn total(&self) -> f64 {
        self.nodes[1]
    }

    /// The weight of leaf `i`.
    pub fn get(&self, i: usize) -> f64 {
        assert!(i < self.len, "SumTree::get: leaf {i} of {}", self.len);
        self.nodes[self.base + i]
    }

    /// Changes the weight of leaf `i`.
    ///
    /// # Panics
    /// If there is no such leaf, or the weight is negative, NaN or infinite.
    pub fn set(&mut self, i: usize, weight: f64) {
        assert!(i < self.len, "SumTree::set: leaf {i} of {}", self.len);
        let mut node = self.base + i;
        self.nodes[node] = checked(weight);
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.nodes[2 * node] + self.nodes[2 * node + 1];
        }
    }

    /// The leaf under `at`, in `[0, total)`, of the weights laid end to end. Never a leaf of weight zero.
    ///
    /// # Panics
    /// If the total is zero.
    pub fn find(&self, mut at: f64) -> usize {
        assert!(self.total() > 0.0, "SumTree::find: all {} weights are zero", self.len);
        let mut node = 1;
        while node < self.base {
            let (left, right) = (self.nodes[2 * node], self.nodes[2 * node + 1]);
            // Rounding can push the point past the end: a side without weight is never entered.
            if (at < left || right <= 0.0) && left > 0.0 {
                node *= 2;
            } else {
                at -= left;
                node = 2 * node + 1;
            }
        }
        node - self.base
    }
}

fn checked(weight: f64) -> f64 {
    assert!(weight >= 0.0 && weight.is_finite(), "SumTree: {weight} is not a weight");
    weight
}
