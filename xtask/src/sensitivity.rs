//! Curves over a hyperparameter: what algorithms score that differ in it alone.

use crate::report::{RunReport, decimal};
use crate::svg::{Rungs, around, ladder, short};
use backcast::Experiment;
use backcast::envs::push::Level;
use serde::{Deserialize, Serialize};

/// One curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SensitivityReport {
    /// What it is called.
    pub(crate) label: String,
    /// The hyperparameter.
    pub(crate) hyperparameter: String,
    /// The hyperparameter's values from the least upwards, and the method of each.
    pub(crate) points: Vec<(f64, String)>,
}

/// The curves that `experiment` asks for, of the methods that it has.
pub(crate) fn report(experiment: &Experiment) -> anyhow::Result<Vec<SensitivityReport>> {
    let curve = |curve: &backcast::Sensitivity| {
        let points =
            curve.points(experiment)?.into_iter().map(|(value, method)| (value, method.name.clone())).collect();
        Ok(SensitivityReport { label: curve.label.clone(), hyperparameter: curve.hyperparameter.clone(), points })
    };
    experiment.sensitivity.iter().map(curve).collect()
}

/// A figure, its title and what it is called as a file.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) drawing: String,
}

/// One figure for each curve: the score over the hyperparameter's values, which stand at equal distances, without a push and from perturbed
/// states where those were measured.
pub(crate) fn figures(run: &RunReport) -> Vec<Figure> {
    let draw = |curve: &SensitivityReport| {
        let methods: Vec<_> =
            curve.points.iter().filter_map(|p| run.methods.iter().find(|method| method.name == p.1)).collect();
        let levels: Vec<Level> =
            methods.first().map_or(vec![], |method| method.robustness.iter().map(|l| l.level).collect());
        let values: Vec<String> = curve.points.iter().map(|p| short(p.0)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let whole = |kind| Rungs {
            name: "score",
            kind,
            points: methods.iter().map(|method| Some(around(method.iqm, method.spread))).collect(),
        };
        let at = |level: &Level| Rungs {
            name: level.name(),
            kind: *level as usize,
            points: (methods.iter().map(|method| method.robustness.iter().find(|l| l.level == *level)))
                .map(|found| found.map(|l| around(l.iqm, l.spread)))
                .collect(),
        };
        let lines: Vec<Rungs<'_>> = if levels.is_empty() { vec![whole(0)] } else { levels.iter().map(at).collect() };
        let drawing = ladder(&format!("score: {}", curve.label), &curve.hyperparameter, "score", &values, &lines);
        Figure { name: format!("sensitivity-{}", backcast::slug(&curve.label)), title: curve.label.clone(), drawing }
    };
    run.sensitivity.iter().filter(|curve| curve.points.len() > 1).map(draw).collect()
}

/// For the terminal: of every curve, the hyperparameter's values with the score without a push and after the hardest.
pub(crate) fn lines(run: &RunReport) -> Vec<String> {
    let point = |(value, name): &(f64, String)| {
        let method = run.methods.iter().find(|method| method.name == *name)?;
        let perturbed = method.robustness.last().filter(|l| l.level != Level::None);
        let perturbed = perturbed.map_or_else(String::new, |l| format!(" ({} perturbed)", decimal(l.iqm)));
        Some(format!("{}: {}{perturbed}", short(*value), decimal(method.iqm)))
    };
    let line = |curve: &SensitivityReport| {
        format!("{}: {}", curve.label, curve.points.iter().filter_map(point).collect::<Vec<_>>().join(", "))
    };
    run.sensitivity.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made_up;

    #[test]
    fn a_curve_is_drawn_in_the_order_of_its_values() {
        let mut run = made_up();
        assert!(figures(&run).is_empty() && lines(&run).is_empty());
        let curve = |names: [&str; 2]| SensitivityReport {
            label: "OSR over lambda".into(),
            hyperparameter: "lambda".into(),
            points: vec![(0.003, names[0].into()), (2.0, names[1].into())],
        };
        run.sensitivity = vec![curve(["FOMI-BCQ", "ROMI-BCQ"])];
        let [figure] = &figures(&run)[..] else { panic!("one curve has one figure") };
        assert_eq!((figure.name.as_str(), figure.title.as_str()), ("sensitivity-osr-over-lambda", "OSR over lambda"));
        assert!(figure.drawing.contains(">0.003<") && figure.drawing.contains(">lambda<"), "{}", figure.drawing);
        assert_eq!(figure.drawing.matches("<circle").count(), 2);
        assert_eq!(lines(&run), ["OSR over lambda: 0.003: 73.3, 2: 121.0"]);
        let other = RunReport { sensitivity: vec![curve(["ROMI-BCQ", "FOMI-BCQ"])], ..run.clone() };
        assert_ne!(figures(&other)[0].drawing, figure.drawing);

        let page = crate::report::html(&run);
        assert!(page.contains("What a hyperparameter does") && page.contains(&figure.drawing));
        assert!(!crate::report::html(&made_up()).contains("What a hyperparameter does"));
        // Reports from before there were curves.
        let old = backcast::json::to_string(&made_up()).unwrap().replace(",\"sensitivity\":[]", "");
        assert!(!old.contains("sensitivity"));
        assert_eq!(backcast::json::from_str::<RunReport>(&old).unwrap(), made_up());
    }
}
