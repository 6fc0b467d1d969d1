//! The binding: a score of functions of `libmujoco`, found at run time, and one owner of what they allocate.
//!
//! No header and no layout of a structure is relied on. A model and its data are opaque pointers; states go in and out as flat
//! arrays through `mj_getState` and `mj_setState`, places of bodies through `mj_local2Global`. What a release may move, the bit
//! that names the controls in a state, is looked for on a model made for it ([`Library::open`]), which also shows that numbers
//! are doubles and that the two bits that are relied on mean positions and velocities.
//!
//! Forces of contacts are read through sensors that are put into the model for it ([`Library::compile_sensing`]): they have the same
//! numbers as the array of MuJoCo's data that holds them, and need no knowledge of where that lies.
//!
//! Tried with MuJoCo 4.0.0. `mj_parseXMLString` came with 3.2; `mj_readSensor` is younger, and only who asks for forces must have it.
#![allow(unsafe_code, reason = "a C library is called")]

use crate::EnvError;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::{
    Arc,
    atomic::{AtomicPtr, Ordering},
};

/// `mjtState`: time.
const TIME: c_int = 1;
/// `mjtState`: positions, `[nq]`.
const POSITIONS: c_int = 1 << 1;
/// `mjtState`: velocities, `[nv]`.
const VELOCITIES: c_int = 1 << 2;
/// `mjtObj`: a body.
const BODY: c_int = 1;

/// Five motors, as no other size of this model is five; one coordinate whose zero is 1.25.
const PROBE: &str = "<mujoco><worldbody><body><joint name='a' type='slide' ref='1.25'/><geom size='.1'/></body></worldbody>\
    <actuator><motor joint='a'/><motor joint='a'/><motor joint='a'/><motor joint='a'/><motor joint='a'/></actuator></mujoco>";

/// Declares a function table: a field per function, filled from the library by the field's name.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        #[allow(non_snake_case, reason = "the library's own names")]
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            /// Reads a sensor's numbers; `None` in releases that cannot.
            read_sensor: Option<ReadSensor>,
            /// Where MuJoCo looks for the function that hears its warnings.
            warning: NonNull<AtomicPtr<c_void>>,
            /// Keeps the code mapped for as long as anyone may call it.
            _library: libloading::Library,
        }

        impl Functions {
            /// # Errors
            /// What the dynamic linker says of the file or of a function that is not in it.
            fn load(path: &Path) -> Result<Self, libloading::Error> {
                // SAFETY: loading runs the initialisers of the library; libmujoco's set up static tables and, like those of
                // any library, have to be trusted. Whoever installs the file vouches for it.
                let library = unsafe { libloading::Library::new(path) }?;
                // SAFETY: the types are those of MuJoCo's public header for functions of these names, which have not
                // changed since they were introduced; `mju_user_warning` is a global pointer to a function, of a pointer's
                // size and alignment, and lives as long as the library, which this value owns.
                unsafe {
                    Ok(Self {
                        $($name: *library.get(concat!(stringify!($name), "\0").as_bytes())?,)*
                        read_sensor: library.get(b"mj_readSensor\0").ok().map(|found| *found),
                        warning: NonNull::new(*library.get::<*mut AtomicPtr<c_void>>(b"mju_user_warning\0")?)
                            .ok_or(libloading::Error::DlSymUnknown)?,
                        _library: library,
                    })
                }
            }
        }
    };
}

type Spec = *mut c_void;
type Model = *mut c_void;
type Data = *mut c_void;
type ReadSensor = unsafe extern "C" fn(Model, Data, c_int, f64, *mut f64, c_int) -> *const f64;

functions! {
    mj_versionString: fn() -> *const c_char;
    mj_parseXMLString: fn(*const c_char, *const c_void, *mut c_char, c_int) -> Spec;
    mj_compile: fn(Spec, *const c_void) -> Model;
    mjs_getError: fn(Spec) -> *const c_char;
    mj_deleteSpec: fn(Spec);
    mj_deleteModel: fn(Model);
    mj_makeData: fn(Model) -> Data;
    mj_deleteData: fn(Data);
    mj_resetData: fn(Model, Data);
    mj_forward: fn(Model, Data);
    mj_step: fn(Model, Data);
    mj_stateSize: fn(Model, c_int) -> c_int;
    mj_getState: fn(Model, Data, *mut f64, c_int);
    mj_setState: fn(Model, Data, *const f64, c_int);
    mj_name2id: fn(Model, c_int, *const c_char) -> c_int;
    mj_sensorPos: fn(Model, Data);
    mj_sensorAcc: fn(Model, Data);
    mj_local2Global: fn(Data, *mut f64, *mut f64, *const f64, *const f64, c_int, u8);
}

// SAFETY: a table of functions and the address of an atomic; MuJoCo's functions keep no state of their own between calls
// except the parser's, which it guards with a lock.
unsafe impl Send for Functions {}
// SAFETY: as above; what they work on is passed to them.
unsafe impl Sync for Functions {}

/// A loaded `libmujoco`.
#[derive(Clone)]
pub struct Library {
    functions: Arc<Functions>,
    version: String,
    /// `mjtState`: controls, `[nu]`.
    controls: c_int,
}

impl Library {
    /// Loads the library at `path` and tries it on a model of one joint.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] if it cannot be loaded, lacks a function, or answers in a way that is not understood.
    pub fn open(path: &Path) -> Result<Self, EnvError> {
        let refused = |why: String| EnvError::Mujoco { why: format!("{}: {why}", path.display()) };
        let functions = Functions::load(path).map_err(|error| refused(error.to_string()))?;
        // By default a warning is appended to a file in the current folder. What the only one that matters says, that a
        // state went astray and was put back, is seen in the clock: see `Simulation::step`.
        // SAFETY: the pointer is to a global of the library, which is loaded; MuJoCo reads it as a whole.
        unsafe { functions.warning.as_ref() }.store(unheard as *mut c_void, Ordering::Relaxed);
        // SAFETY: takes nothing and returns a string with static life.
        let version = unsafe { CStr::from_ptr((functions.mj_versionString)()) }.to_string_lossy().into_owned();
        let mut library = Self { functions: Arc::new(functions), version, controls: 0 };
        let probe = library.compile("a joint", PROBE)?;
        let size = |bit| probe.size_of(bit);
        let understood = (size(TIME), size(POSITIONS), size(VELOCITIES)) == (1, 1, 1);
        let controls = (0..20).map(|bit| 1 << bit).find(|&bit| size(bit) == 5);
        let (mut position, mut velocity) = ([0.0], [1.0]);
        probe.state(&mut position, &mut velocity);
        match controls {
            Some(controls) if understood && position == [1.25] && velocity == [0.0] => library.controls = controls,
            _ => {
                return Err(refused(format!(
                    "MuJoCo {} keeps its states in a way that is not known here",
                    library.version
                )));
            }
        }
        Ok(library)
    }

    /// The release, such as `4.0.0`. Trajectories differ between releases: it belongs beside every score.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Makes a simulation of the model `xml` describes (MJCF), at its initial state. `name` stands in complaints.
    ///
    /// # Errors
    /// [`EnvError::Mujoco`] with what MuJoCo says of the text.
    pub fn compile(&self, name: &str, xml: &str) -> Result<Simulation, EnvError> {
        let refused = |why: &str| EnvError::Mujoco { why: format!("the model of {name}: {}", why.trim()) };
        let text = CString::new(xml).map_err(|_| refused("the text holds a zero byte"))?;
        let f = &self.functions;
        let mut complaint = [0u8; 1024];
        // SAFETY: the text is terminated and outlives the call; no virtual files; the buffer is as long as is said.
        let spec = unsafe {
            (f.mj_parseXMLString)(text.as_ptr(), ptr::null(), complaint.as_mut_ptr().cast(), complaint.len() as c_int)
        };
        if spec.is_null() {
            let said = CStr::from_bytes_until_nul(&complaint).unwrap_or_default();
            return Err(refused(&said.to_string_lossy()));
        }
        // SAFETY: the description was made above, is used here alone, and is deleted once, after its complaint was copied.
        let (model, said) = unsafe {
            let model = (f.mj_compile)(spec, ptr::null());
            let said = (f.mjs_getError)(spec);
            let said = if said.is_null() { String::new() } else { CStr::from_ptr(said).to_string_lossy().into_owned() };
            (f.mj_deleteSpec)(spec);
            (model, said)
        };
        let Some(model) = NonNull::new(model) else { return Err(refused(&said)) };
        // SAFETY: the model is whole.
        let Some(data) = NonNull::new(unsafe { (f.mj_makeData)(model.as_ptr()) }) else {
            // SAFETY: nobody else has the model.
            unsafe { (f.mj_deleteModel)(model.as_ptr()) };
            return Err(refused("there is no memory for its data"));
        };
        let mut made = Simulation {
            functions: f.clone(),
            model,
            data,
            sizes: Sizes::default(),
            controls: self.controls,
            bodies: Vec::new(),
            sensing: None,
        };
        made.sizes = Sizes {
            positions: made.size_of(POSITIONS),
            velocities: made.size_of(VELOCITIES),
            controls: made.size_of(self.controls),
        };
        Ok(made)
    }

    /// As [`compile`](Self::compile), and the forces of contacts on the shapes called `geoms` can be asked for, about the centre of mass of
    /// the body called `root` and of all that hangs on it. Not public: [`Simulation::contact_forces`] relies on the text being a whole model
    /// and the names being names, so that the sensors are those written here.
    ///
    /// # Errors
    /// As there; if the model has sensors of its own, or this release has no function that reads them.
    pub(super) fn compile_sensing(
        &self,
        name: &str,
        xml: &str,
        geoms: &[&str],
        root: &str,
    ) -> Result<Simulation, EnvError> {
        let refused = |why: String| EnvError::Mujoco { why: format!("the model of {name}: {why}") };
        let Some(read) = self.functions.read_sensor else {
            return Err(refused(format!("MuJoCo {} cannot say what a sensor says (no `mj_readSensor`)", self.version)));
        };
        let Some((rest, _)) = xml.rsplit_once("</mujoco>") else { return Err(refused("it does not end".into())) };
        // Sensors are numbered as they stand in the text: those of the model would come first.
        if rest.contains("<sensor") {
            return Err(refused("it has sensors of its own".into()));
        }
        let mut text = format!("{rest}<sensor>");
        for geom in geoms {
            text += &format!("<contact geom1='{geom}' num='1' reduce='netforce' data='force torque pos'/>");
        }
        text += &format!("<subtreecom body='{root}'/></sensor></mujoco>");
        let mut made = self.compile(name, &text)?;
        made.sensing = Some(Sensing { read, geoms: geoms.len() });
        Ok(made)
    }
}

/// Which sensors a model was given: a contact's for each shape, of 3 + 3 + 3 numbers, then a centre of mass, of 3.
#[derive(Clone, Copy)]
struct Sensing {
    read: ReadSensor,
    geoms: usize,
}

/// Hears a warning of MuJoCo's, and nothing comes of it.
extern "C" fn unheard(_: *const c_char) {}

/// How wide a model's states are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Coordinates, MuJoCo's `nq`: a free body has seven.
    pub positions: usize,
    /// Degrees of freedom, `nv`: a free body has six.
    pub velocities: usize,
    /// Actuators, `nu`.
    pub controls: usize,
}

/// A body of a simulation, by the order in which it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body(usize);

/// A model and its state: what can be set, stepped and read. In double precision, as MuJoCo computes.
pub struct Simulation {
    functions: Arc<Functions>,
    model: NonNull<c_void>,
    data: NonNull<c_void>,
    sizes: Sizes,
    controls: c_int,
    /// MuJoCo's numbers of the bodies that were asked for.
    bodies: Vec<c_int>,
    sensing: Option<Sensing>,
}

// SAFETY: the model and the data are owned by this value alone, and MuJoCo ties neither to a thread.
unsafe impl Send for Simulation {}

impl Drop for Simulation {
    fn drop(&mut self) {
        // SAFETY: both were made by this library and nobody else has them.
        unsafe {
            (self.functions.mj_deleteData)(self.data.as_ptr());
            (self.functions.mj_deleteModel)(self.model.as_ptr());
        }
    }
}

impl Simulation {
    /// How wide its states are.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn size_of(&self, bits: c_int) -> usize {
        // SAFETY: the model is whole; a size depends on it alone.
        let size = unsafe { (self.functions.mj_stateSize)(self.model.as_ptr(), bits) };
        usize::try_from(size).unwrap_or(0)
    }

    fn get(&self, bits: c_int, out: &mut [f64], what: &str) {
        assert_eq!(out.len(), self.size_of(bits), "Simulation: {what}, the buffer against the model");
        // SAFETY: as many numbers are written as `mj_stateSize` says, which is the buffer's length.
        unsafe { (self.functions.mj_getState)(self.model.as_ptr(), self.data.as_ptr(), out.as_mut_ptr(), bits) }
    }

    fn set(&mut self, bits: c_int, values: &[f64], what: &str) {
        assert_eq!(values.len(), self.size_of(bits), "Simulation: {what}, the values against the model");
        // SAFETY: as many numbers are read as `mj_stateSize` says, which is the slice's length.
        unsafe { (self.functions.mj_setState)(self.model.as_ptr(), self.data.as_ptr(), values.as_ptr(), bits) }
    }

    /// Back to the model's initial state, at time 0, with nothing remembered of the past.
    pub fn reset(&mut self) {
        // SAFETY: the data belong to the model.
        unsafe { (self.functions.mj_resetData)(self.model.as_ptr(), self.data.as_ptr()) }
    }

    /// Writes positions, `[nq]`, and velocities, `[nv]`.
    ///
    /// # Panics
    /// If a buffer has another length.
    pub fn state(&self, positions: &mut [f64], velocities: &mut [f64]) {
        self.get(POSITIONS, positions, "positions");
        self.get(VELOCITIES, velocities, "velocities");
    }

    /// Sets positions, `[nq]`, and velocities, `[nv]`, and computes all that follows from them, as Gymnasium does.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.set(POSITIONS, positions, "positions");
        self.set(VELOCITIES, velocities, "velocities");
        // SAFETY: the data belong to the model.
        unsafe { (self.functions.mj_forward)(self.model.as_ptr(), self.data.as_ptr()) }
    }

    /// Sets what the actuators are told, `[nu]`. MuJoCo clips it to their range.
    ///
    /// # Panics
    /// If the slice has another length.
    pub fn control(&mut self, controls: &[f64]) {
        self.set(self.controls, controls, "controls");
    }

    /// Steps `count` times. False if the state went astray: MuJoCo then puts it back to the beginning by itself, and what it
    /// holds afterwards follows from nothing.
    #[must_use]
    pub fn step(&mut self, count: usize) -> bool {
        let mut time = [0.0];
        self.get(TIME, &mut time, "time");
        let before = time[0];
        for _ in 0..count {
            // SAFETY: the data belong to the model.
            unsafe { (self.functions.mj_step)(self.model.as_ptr(), self.data.as_ptr()) }
        }
        self.get(TIME, &mut time, "time");
        count == 0 || time[0] > before
    }

    /// The body called `name`.
    pub fn body(&mut self, name: &CStr) -> Option<Body> {
        // SAFETY: the name is terminated, the model whole.
        let id = unsafe { (self.functions.mj_name2id)(self.model.as_ptr(), BODY, name.as_ptr()) };
        if id < 0 {
            return None;
        }
        self.bodies.push(id);
        Some(Body(self.bodies.len() - 1))
    }

    /// Where a body of this model is, metres, as the last computation left it. MuJoCo computes places at the *beginning* of a
    /// step: after stepping they lag behind the state by one step of the simulation, here as in Gymnasium.
    ///
    /// # Panics
    /// If the body was asked of another simulation, which asked for more.
    pub fn place(&mut self, body: Body) -> [f64; 3] {
        let id = self.bodies[body.0];
        let (mut place, mut axes) = ([0.0; 3], [0.0; 9]);
        let (origin, upright) = ([0.0; 3], [1.0, 0.0, 0.0, 0.0]);
        // SAFETY: buffers have the lengths of the header, and the number is one that this model gave for a name of its own.
        unsafe {
            (self.functions.mj_local2Global)(
                self.data.as_ptr(),
                place.as_mut_ptr(),
                axes.as_mut_ptr(),
                origin.as_ptr(),
                upright.as_ptr(),
                id,
                0,
            );
        }
        place
    }

    /// What contacts press each of the shapes with that [`compile_sensing`](Library::compile_sensing) was told of: torque about the centre of
    /// mass, N·m, then force, N, along the axes of the environment. Contacts are those of the last computation, as in [`place`](Self::place):
    /// MuJoCo's `cfrc_ext` after `mj_rnePostConstraint`, but for the last digit.
    ///
    /// # Panics
    /// If the simulation was not made for it, or for another number of shapes.
    pub(super) fn contact_forces(&mut self, out: &mut [[f64; 6]]) {
        let sensing = self.sensing.expect("Simulation::contact_forces: the model was not compiled to sense");
        assert_eq!(out.len(), sensing.geoms, "Simulation::contact_forces: the buffer against the shapes");
        let (model, data) = (self.model.as_ptr(), self.data.as_ptr());
        // An integrator of several stages leaves its last one's contacts behind, and its first one's sensors.
        // SAFETY: the data belong to the model.
        unsafe {
            (self.functions.mj_sensorPos)(model, data);
            (self.functions.mj_sensorAcc)(model, data);
        }
        let read = |sensor: usize, numbers: &mut [f64]| {
            // SAFETY: the model has sensors 0 to `geoms`, which it was given by `compile_sensing` and which are all there are; `numbers` is
            // as long as their text says. What is returned points to them in the data, or is null and they are in the buffer.
            unsafe {
                let found = (sensing.read)(model, data, sensor as c_int, 0.0, numbers.as_mut_ptr(), 0);
                if let Some(found) = NonNull::new(found.cast_mut()) {
                    ptr::copy(found.as_ptr(), numbers.as_mut_ptr(), numbers.len());
                }
            }
        };
        let mut centre = [0.0; 3];
        read(sensing.geoms, &mut centre);
        for (sensor, out) in out.iter_mut().enumerate() {
            // What the shape does to others, gathered in one point: others do the opposite to it.
            let mut found = [0.0; 9];
            read(sensor, &mut found);
            let [f0, f1, f2, t0, t1, t2, ..] = found;
            let [x, y, z] = [0, 1, 2].map(|axis| found[6 + axis] - centre[axis]);
            *out = [y * f2 - z * f1 + t0, z * f0 - x * f2 + t1, x * f1 - y * f0 + t2, f0, f1, f2].map(|x| -x);
        }
    }
}
