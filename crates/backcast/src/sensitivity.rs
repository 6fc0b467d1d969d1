use crate::{Experiment, ExperimentError, Method};
use serde::{Deserialize, Serialize};

/// Methods that differ in one hyperparameter of their algorithm, to be drawn as a curve over it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// What the curve is called, such as `OSR over β`.
    pub label: String,
    /// The hyperparameter: a key of `algorithm`, or several with dots between them, such as `cql.weight`.
    pub hyperparameter: String,
    /// The methods, by the values of their hyperparameters from the least upwards.
    pub methods: Vec<String>,
}

impl Sensitivity {
    /// The hyperparameter's value in `method`'s algorithm, defaults included.
    fn value(&self, experiment: &Experiment, method: &Method) -> Result<f64, ExperimentError> {
        let table = toml::Value::try_from(experiment.algorithm_of(method)?).expect("settings are plain values");
        let found = self.hyperparameter.split('.').try_fold(&table, |table, key| table.get(key));
        let number = found.and_then(|v| v.as_float().or_else(|| v.as_integer().map(|whole| whole as f64)));
        number.ok_or_else(|| {
            let what = if found.is_some() { "is not a number" } else { "is not a hyperparameter" };
            ExperimentError::new(format!(
                "sensitivity `{}`: `{}` {what} of method `{}`",
                self.label, self.hyperparameter, method.name
            ))
        })
    }

    /// The hyperparameter's value and the method, for those of its methods that `experiment` has; of a run of some methods alone, the others
    /// are no mistake.
    pub fn points<'e>(&self, experiment: &'e Experiment) -> Result<Vec<(f64, &'e Method)>, ExperimentError> {
        let methods =
            self.methods.iter().filter_map(|name| experiment.methods.iter().find(|method| method.name == *name));
        methods.map(|method| Ok((self.value(experiment, method)?, method))).collect()
    }

    /// Whether every method is there and the hyperparameter rises from method to method.
    pub(crate) fn check(&self, experiment: &Experiment) -> Result<(), ExperimentError> {
        let bad = |why: String| Err(ExperimentError::new(format!("sensitivity `{}`: {why}", self.label)));
        if let Some(stranger) =
            self.methods.iter().find(|name| experiment.methods.iter().all(|method| method.name != **name))
        {
            return bad(format!("there is no method `{stranger}`"));
        }
        let points = self.points(experiment)?;
        if points.len() < 2 {
            return bad("`methods` has fewer than two; a curve needs two points".into());
        }
        match points.windows(2).find(|pair| pair[0].0.partial_cmp(&pair[1].0) != Some(std::cmp::Ordering::Less)) {
            Some([(a, first), (b, second)]) => bad(format!(
                "`{}` is {a} in method `{}` and then {b} in `{}`",
                self.hyperparameter, first.name, second.name
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name='x'\ntask='dmsd'\nalgorithm={name='osr'}\nmethods=[{name='a', algorithm={lambda=0.1}}, {name='b', \
                        algorithm={cql={cql_alpha=3}}}, {name='c', algorithm={lambda=2}}]\n";

    fn parse(sensitivity: &str) -> Result<Experiment, String> {
        Experiment::parse(&format!("{TEXT}[[sensitivity]]\nlabel='l'\n{sensitivity}")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_curve_has_the_values_that_its_methods_have() {
        let mut experiment = parse("hyperparameter='lambda'\nmethods=['a', 'b', 'c']").unwrap();
        let values = |experiment: &Experiment| -> Vec<f64> {
            experiment.sensitivity[0].points(experiment).unwrap().iter().map(|p| p.0).collect()
        };
        let default = f64::from(backcast_algos::osr::Config::default().lambda);
        let near = |found: Vec<f64>, want: &[f64]| {
            assert!(
                found.len() == want.len() && found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
                "{found:?}"
            );
        };
        near(values(&experiment), &[0.1, default, 2.0]);
        assert_eq!(Experiment::parse(&experiment.to_toml()).unwrap(), experiment);
        // A run of some methods alone.
        experiment.methods.remove(1);
        near(values(&experiment), &[0.1, 2.0]);
        // A hyperparameter within a hyperparameter, and one that is a whole number.
        near(values(&parse("hyperparameter='cql.cql_alpha'\nmethods=['b', 'a']").unwrap()), &[3.0, 5.0]);
        assert!(parse("hyperparameter='warm_up'\nmethods=['a', 'b']").unwrap_err().contains("`warm_up` is"));
    }

    #[test]
    fn what_is_no_curve_is_named() {
        for (text, want) in [
            ("hyperparameter='lamda'\nmethods=['a', 'c']", "`lamda` is not a hyperparameter of method `a`"),
            ("hyperparameter='variant'\nmethods=['a', 'c']", "`variant` is not a number of method `a`"),
            ("hyperparameter='lambda'\nmethods=['a', 'd']", "there is no method `d`"),
            ("hyperparameter='lambda'\nmethods=['c', 'a']", "`lambda` is 2 in method `c` and then 0.1"),
            ("hyperparameter='lambda'\nmethods=['a']", "fewer than two"),
            ("hyperparameter='lambda'\nmethod=['a']", "did you mean `methods`?"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    /// Each is drawn into a file of its own.
    #[test]
    fn two_curves_of_one_name_are_refused() {
        let curve =
            |label: &str| format!("[[sensitivity]]\nlabel='{label}'\nhyperparameter='lambda'\nmethods=['a', 'c']\n");
        let parse = |labels: [&str; 2]| Experiment::parse(&(TEXT.to_owned() + &labels.map(curve).concat()));
        assert!(parse(["of lambda", "over lambda"]).is_ok());
        assert!(parse(["of lambda", "Of Lambda"]).unwrap_err().to_string().contains("two are called `Of Lambda`"));
    }
}
