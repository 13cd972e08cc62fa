//! `$setElementOrder`: elements that the patch names stand in its order; the others, which only the server knows, keep
//! their places relative to the elements that were beside them.

use serde_json::Value;

pub fn reorder(merged: Vec<Value>, order: &[Value], original: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) if a.is_object() || b.is_object() => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    };
    let position = |list: &[Value], item: &Value| list.iter().position(|other| same(other, item));
    let (mut named, foreign): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| position(order, item).is_some());
    named.sort_by_key(|item| position(order, item));

    let mut result = Vec::with_capacity(named.len() + foreign.len());
    let mut foreign = foreign.into_iter().peekable();
    for item in named {
        let at = position(original, &item);
        // A foreign element goes first only when both were there before and it stood in front.
        while let Some(other) =
            foreign.next_if(|other| matches!((position(original, other), at), (Some(o), Some(i)) if o < i))
        {
            result.push(other);
        }
        result.push(item);
    }
    result.extend(foreign);
    result
}
