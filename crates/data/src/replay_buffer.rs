use backcast_core::{Column, Key, Real, Slot, Source, Spec, State, Transitions};

/// The last `capacity` transitions: when it is full, the newest takes the place of the oldest.
///
/// Memory for all rows is reserved at once (untouched pages cost nothing on most systems), and nothing is allocated after.
///
/// ```
/// use backcast_core::{Column, Spec};
/// use backcast_data::ReplayBuffer;
/// let mut buffer = ReplayBuffer::new(Spec::new(1, 1), 2);
/// for i in 0..3 {
///     buffer.push(&[i as _], &[0.0], 0.0, &[0.0], false);
/// }
/// let oldest_first: Vec<_> = (0..2).map(|age| buffer.row(Column::Obs, age)[0]).collect();
/// assert_eq!(oldest_first, [1.0, 2.0]);
/// ```
#[derive(Clone, Debug)]
pub struct ReplayBuffer {
    columns: Transitions,
    capacity: usize,
    len: u64,
    /// Where the next row goes.
    head: u64,
}

impl ReplayBuffer {
    /// No transitions, with memory for `capacity` of them.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn new(spec: Spec, capacity: usize) -> Self {
        assert!(capacity > 0, "ReplayBuffer::new: a replay buffer holds at least one row");
        Self { columns: Transitions::with_capacity(spec, capacity), capacity, len: 0, head: 0 }
    }

    /// The most rows it holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The rows it holds.
    pub fn len(&self) -> usize {
        // Counters restored from a foreign snapshot are not trusted to fit.
        (self.len as usize).min(self.columns.len())
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the next row will displace another.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// Forgets every row and keeps the memory.
    pub fn clear(&mut self) {
        self.columns.clear();
        (self.len, self.head) = (0, 0);
    }

    /// Adds one transition.
    ///
    /// # Panics
    /// If a width differs from the spec.
    pub fn push(&mut self, obs: &[Real], act: &[Real], reward: Real, next_obs: &[Real], terminal: bool) {
        let at = self.advance();
        if at == self.columns.len() {
            return self.columns.push(obs, act, reward, next_obs, terminal);
        }
        let spec = self.columns.spec();
        for (column, values) in [(Column::Obs, obs), (Column::Act, act), (Column::NextObs, next_obs)] {
            let width = spec.width(column);
            assert_eq!(values.len(), width, "ReplayBuffer::push: {column:?} of width {} where {spec:?}", values.len());
            self.columns.values_mut(column)[at * width..][..width].copy_from_slice(values);
        }
        self.columns.values_mut(Column::Reward)[at] = reward;
        self.columns.values_mut(Column::Terminal)[at] = terminal as u8 as Real;
    }

    /// Adds row `row` of `from`.
    ///
    /// # Panics
    /// If the widths differ or there is no such row.
    pub fn push_row(&mut self, from: &Transitions, row: usize) {
        let (ours, theirs) = (self.columns.spec(), from.spec());
        assert!(
            ours.obs == theirs.obs && ours.act == theirs.act,
            "ReplayBuffer::push_row: rows of {theirs:?} do not fit {ours:?}"
        );
        let at = self.advance();
        if at == self.columns.len() {
            self.columns.push_row(from, row);
        } else {
            self.columns.set_row(at, from, row);
        }
    }

    /// Adds every row of `from`, in order.
    pub fn extend(&mut self, from: &Transitions) {
        (0..from.len()).for_each(|row| self.push_row(from, row));
    }

    /// The values of one column in the row that is `age`-th from the oldest, `[width]`.
    ///
    /// # Panics
    /// If there are not that many rows.
    pub fn row(&self, column: Column, age: usize) -> &[Real] {
        assert!(age < self.len(), "ReplayBuffer::row: row {age} of {}", self.len());
        let oldest = if self.is_full() { self.head as usize % self.capacity } else { 0 };
        self.columns.row(column, (oldest + age) % self.capacity)
    }

    /// The rows in the order of their places, not of their age.
    pub fn rows(&self) -> backcast_core::Batch<'_> {
        self.columns.rows(0, self.len())
    }

    /// Moves the head on and returns the place it leaves.
    fn advance(&mut self) -> usize {
        let at = self.head as usize % self.capacity;
        self.head = (at as u64 + 1) % self.capacity as u64;
        self.len = (self.len() as u64 + 1).min(self.capacity as u64);
        at
    }
}

/// Uniform draws with replacement.
impl Source for ReplayBuffer {
    fn spec(&self) -> Spec {
        self.columns.spec()
    }

    fn len(&self) -> usize {
        self.len()
    }

    fn sample_into(&self, key: Key, rows: usize, out: &mut Transitions) {
        for i in 0..rows {
            out.push_row(&self.columns, key.below(self.len(), i));
        }
    }
}

/// Names every place of the replay buffer, empty ones too (as zeros), so that replay buffers of one capacity always fit each other.
impl State for ReplayBuffer {
    fn visit(&mut self, f: &mut dyn FnMut(&str, Slot<'_>)) {
        let spec = self.columns.spec();
        let (obs, act) = (vec![0.0; spec.obs], vec![0.0; spec.act]);
        let len = self.len() as u64;
        while self.columns.len() < self.capacity {
            self.columns.push(&obs, &act, 0.0, &obs, false);
        }
        self.len = len;
        for (name, column) in [
            ("obs", Column::Obs),
            ("act", Column::Act),
            ("reward", Column::Reward),
            ("next_obs", Column::NextObs),
            ("terminal", Column::Terminal),
        ] {
            f(name, Slot::Tensor(&[self.capacity, spec.width(column)], self.columns.values_mut(column)));
        }
        f("len", Slot::Count(&mut self.len));
        f("head", Slot::Count(&mut self.head));
    }
}
