//! The model of the demo: which of three irises a flower is, asked and answered in the Open
//! Inference Protocol.
//!
//! It is apart because both sides need it: the servers to answer, the clients to know what
//! the right answer is. A question is made around the flower it must be taken for, so that
//! the clients do not learn the answer from the code that gives it.

use bytes::Bytes;
use serde_json::{Value, json};
use thiserror::Error;

/// Where the model is asked.
pub(super) const INFER_PATH: &str = "/v2/models/iris/infer";

/// How many questions there are; few, so that a cache soon knows them all.
pub(super) const QUESTIONS: usize = 48;

/// One question with its right answer.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// The request's body.
    pub(super) body: Bytes,
    /// The species that the answer must name.
    pub(super) species: &'static str,
}

/// Why a body is not a question.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum BadQuestion {
    /// Not JSON at all.
    #[error("the body is not JSON")]
    NotJson,
    /// No `inputs[0].data` with four numbers.
    #[error("inputs[0].data must hold four numbers")]
    Shape,
}

/// The question of that number; numbers from [`QUESTIONS`] on are good questions too, that
/// nobody asks as a matter of course.
pub(super) fn question(number: usize) -> Question {
    let (species, middle) = SPECIES[number % SPECIES.len()];
    // Steps of a hundredth, so small that a flower stays near the middle of its kind.
    let step =
        f64::from(u32::try_from(number / SPECIES.len() % 1_000).unwrap_or(0)) / 100.0;
    let data: Vec<f64> = middle.iter().map(|size| size + step.min(0.3)).collect();
    let body = json!({
        "inputs": [{
            "name": "flower",
            "shape": [1, 4],
            "datatype": "FP64",
            "data": data,
        }]
    });
    Question { body: Bytes::from(body.to_string()), species }
}

/// What the model says to a request's body.
///
/// # Errors
/// [`BadQuestion`] when the body is not a question.
pub(super) fn answer(body: &[u8], version: &str) -> Result<Bytes, BadQuestion> {
    let asked: Value = serde_json::from_slice(body).map_err(|_| BadQuestion::NotJson)?;
    let species = classify(flower(&asked).ok_or(BadQuestion::Shape)?);
    let said = json!({
        "model_name": "iris",
        "model_version": version,
        "outputs": [{
            "name": "species",
            "shape": [1],
            "datatype": "BYTES",
            "data": [species],
        }]
    });
    Ok(Bytes::from(said.to_string()))
}

/// The species that an answer names.
pub(super) fn species_of(answer: &[u8]) -> Option<String> {
    let said: Value = serde_json::from_slice(answer).ok()?;
    Some(said.pointer("/outputs/0/data/0")?.as_str()?.to_owned())
}

fn flower(asked: &Value) -> Option<[f64; 4]> {
    let data = asked.pointer("/inputs/0/data")?.as_array()?;
    let sizes: Vec<f64> = data.iter().map_while(Value::as_f64).collect();
    if sizes.len() == data.len() { sizes.try_into().ok() } else { None }
}

/// The species whose middle is nearest.
fn classify(flower: [f64; 4]) -> &'static str {
    let distance = |middle: &[f64; 4]| -> f64 {
        middle.iter().zip(flower).map(|(here, there)| (here - there).powi(2)).sum()
    };
    SPECIES
        .iter()
        .min_by(|(_, one), (_, other)| distance(one).total_cmp(&distance(other)))
        .map_or("", |(species, _)| species)
}

/// The means of Fisher's measurements: sepal length and width, petal length and width, cm.
const SPECIES: [(&str, [f64; 4]); 3] = [
    ("setosa", [5.006, 3.428, 1.462, 0.246]),
    ("versicolor", [5.936, 2.770, 4.260, 1.326]),
    ("virginica", [6.588, 2.974, 5.552, 2.026]),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{BadQuestion, QUESTIONS, answer, question, species_of};

    #[test]
    fn the_model_knows_every_flower_it_is_asked() {
        let mut bodies = HashSet::new();
        for number in 0..QUESTIONS + 3 {
            let asked = question(number);
            let said = answer(&asked.body, "v1").unwrap();
            assert_eq!(species_of(&said).as_deref(), Some(asked.species), "{number}");
            bodies.insert(asked.body);
        }
        assert_eq!(bodies.len(), QUESTIONS + 3, "two questions are the same");
    }

    #[test]
    fn what_is_no_question_is_refused() {
        for (body, why) in [
            ("{", BadQuestion::NotJson),
            ("{}", BadQuestion::Shape),
            (r#"{"inputs":[{"data":[1,2,3]}]}"#, BadQuestion::Shape),
            (r#"{"inputs":[{"data":[1,2,3,"x"]}]}"#, BadQuestion::Shape),
            (r#"{"inputs":[{"data":[1,2,3,4,5]}]}"#, BadQuestion::Shape),
        ] {
            assert_eq!(answer(body.as_bytes(), "v1"), Err(why), "{body}");
        }
        assert_eq!(species_of(b"{}"), None);
    }
}
