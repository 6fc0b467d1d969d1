//! The chapters of the book, compiled and run with the documentation tests. Blocks that quote source are marked `ignore`
//! in the book: what they quote is compiled where it stands.

macro_rules! chapters {
    ($($name:ident: $path:literal),* $(,)?) => {
        $(#[doc = include_str!(concat!("../../../docs/src/", $path))] pub struct $name;)*
    };
}

chapters! {
    Introduction: "introduction.md",
    Journey: "journey.md",
    Data: "data.md",
    ImaginingBackwards: "imagining-backwards.md",
    Fqe: "algorithms/fqe.md",
    EvaluatingHonestly: "evaluating-honestly.md",
    Readme: "../../README.md",
}
