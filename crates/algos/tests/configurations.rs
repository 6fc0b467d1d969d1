//! What a configuration refuses: every number of every algorithm, by the name of its field.

mod shared;

use backcast_algos::{cql, edac};
use backcast_core::Real;
use shared::{Case, every, leaf};
use toml::Value;

/// Fields that a table of defaults leaves out because they are `None`, and a value each can have.
const OPTIONAL: &[(&str, &str, f64)] = &[
    ("sac", "target_entropy", -1.0),
    ("sac", "cloning", 2.5),
    ("cql", "target_entropy", -1.0),
    ("edac", "target_entropy", -1.0),
    ("mcq", "target_entropy", -1.0),
    ("mcq", "floor", 0.0),
    ("bear", "alpha", 1.0),
    ("mopo", "sac.target_entropy", -3.0),
    ("mopo", "sac.cloning", 2.5),
    ("rambo", "sac.target_entropy", -3.0),
    ("rambo", "sac.cloning", 2.5),
    ("morel", "sac.target_entropy", -3.0),
    ("morel", "sac.cloning", 2.5),
    ("morel", "pessimism.kappa", 1.0),
    ("npg", "pessimism.kappa", 1.0),
    ("npg", "kl_bound", 0.1),
    ("mobile", "target_entropy", -1.0),
    ("combo", "cql.target_entropy", -1.0),
    ("osr", "cql.target_entropy", -1.0),
    ("sdc", "cql.target_entropy", -1.0),
    ("sdc", "width", 1.0),
    ("sdc", "threshold", 0.1),
];

/// Numbers that may be below zero.
const SIGNED: &[&str] =
    &["target_entropy", "floor", "target_action_gap", "kappa", "log_std", "min_log_std"];

/// Numbers of which there may be none: counts of updates that are a phase, weights, thresholds and rates that may be off.
const MAY_BE_ZERO: &[&str] = &[
    "alpha",
    "alpha_lr",
    "cloning",
    "cql_alpha",
    "penalty_coef",
    "beta",
    "sharpness",
    "beta1",
    "beta2",
    "eta",
    "phi",
    "kl_weight",
    "policy_noise",
    "noise_clip",
    "threshold",
    "warm_start",
    "warm_up",
    "actor_lr_decay_steps",
    "lr_decay_steps",
    "gamma",
    "lambda",
    "dropout",
    "actor_dropout",
    "real",
    "cloning_epochs",
    "quantile",
    "margin",
    "random_starts",
    "value_weight",
    "gradient_penalty",
    "state_noise",
    "reward_margin",
    "real_step",
];

fn cases() -> Vec<Case> {
    let mut cases = every();
    for &(name, field, value) in OPTIONAL {
        let case = cases
            .iter()
            .find(|c| c.name == name)
            .expect("an algorithm of that name")
            .with(field, value);
        assert_eq!(case.check(), Ok(Ok(())), "{name}.{field}");
        cases.push(case);
    }
    cases
}

/// A value is refused, by a check that names the field, or by the reader of the file where its type cannot hold it.
fn refused(case: &Case, field: &str, value: Value) {
    let bad = case.with(field, value.clone());
    match bad.check() {
        Ok(Err(error)) => assert_eq!(error.field, leaf(field), "{}: {error}", case.name),
        Err(form) => {
            let shaped = value.is_integer() || value.is_array();
            assert!(shaped && form.contains(leaf(field)), "{}.{field} = {value}: {form}", case.name)
        }
        Ok(Ok(())) => panic!("{}.{field} = {value} passes", case.name),
    }
}

#[test]
fn every_number_is_refused_where_it_makes_no_sense() {
    let mut seen = 0;
    for case in cases() {
        for (field, value) in case.fields() {
            let name = leaf(&field);
            match value {
                Value::Float(_) => {
                    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        refused(&case, &field, Value::Float(bad));
                    }
                    if !SIGNED.contains(&name) {
                        refused(&case, &field, Value::Float(-0.5));
                        if !MAY_BE_ZERO.contains(&name) {
                            refused(&case, &field, Value::Float(0.0));
                        }
                    }
                    if ["gamma", "tau", "expectile", "real"].contains(&name) {
                        refused(&case, &field, Value::Float(1.5));
                    }
                }
                Value::Integer(_) => {
                    refused(&case, &field, Value::Integer(-1));
                    // CQL needs no candidates where their term weighs nothing.
                    let weight = case
                        .value(&field.replace("n_action_samples", "cql_alpha"))
                        .and_then(|w| w.as_float());
                    let needless = name == "n_action_samples" && weight == Some(0.0);
                    if !MAY_BE_ZERO.contains(&name) && !needless {
                        refused(&case, &field, Value::Integer(0));
                    }
                }
                Value::Array(_) if name == "log_std_bounds" => {
                    for bad in [
                        vec![],
                        vec![1.0],
                        vec![2.0, -20.0],
                        vec![f64::NAN, 2.0],
                        vec![-20.0, f64::INFINITY],
                    ] {
                        refused(&case, &field, Value::from(bad));
                    }
                }
                Value::Array(_) => {
                    for bad in [vec![], vec![0], vec![8, 0], vec![4; 8]] {
                        refused(&case, &field, Value::from(bad));
                    }
                }
                _ => continue,
            }
            seen += 1;
        }
    }
    assert!(seen > 180, "only {seen} fields were tried");
}

/// Zero is a value where the list above says so, or the list is wrong.
#[test]
fn what_may_be_zero_is_accepted_somewhere() {
    let fields: Vec<(Case, String, Value)> = cases()
        .iter()
        .flat_map(|case| case.fields().into_iter().map(|(f, v)| (case.clone(), f, v)))
        .collect();
    for &name in MAY_BE_ZERO {
        let mut named = fields.iter().filter(|(_, field, _)| leaf(field) == name).peekable();
        let zero = |(case, field, value): &(Case, String, Value)| {
            let zero = if value.is_integer() { Value::Integer(0) } else { Value::Float(0.0) };
            case.with(field, zero).check() == Ok(Ok(()))
        };
        assert!(named.peek().is_none() || named.any(zero), "{name} is never 0");
    }
}

#[test]
fn unknown_fields_are_refused_by_name() {
    for case in every() {
        let error = case.with("lamda_", 1.0).check().expect_err("an unknown field");
        assert!(error.contains("lamda_"), "{}: {error}", case.name);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let refused =
        |error: backcast_core::ConfigError, field| assert_eq!(error.field, field, "{error}");
    let both = cql::Config { max_backup: true, entropy_backup: true, ..Default::default() };
    refused(both.check().expect_err("both"), "entropy_backup");
    for change in [
        |c: &mut cql::Config| c.cql_alpha = 5.0,
        |c: &mut cql::Config| c.target_action_gap = Some(1.0),
        |c: &mut cql::Config| c.max_backup = true,
    ] {
        let mut none = cql::Config { n_action_samples: 0, cql_alpha: 0.0, ..Default::default() };
        assert!(none.check().is_ok());
        change(&mut none);
        refused(none.check().expect_err("none of what is needed"), "n_action_samples");
    }
    let alone = edac::Config { critics: 1, eta: 1.0 as Real, ..Default::default() };
    refused(alone.check().expect_err("no pair"), "critics");
    assert!(edac::Config { critics: 1, eta: 0.0, ..Default::default() }.check().is_ok());
}
