//! Which experts tokens went through, of a mixture whose layers keep the router's shares.

use super::{Recording, Trace};
use crate::{Error, Kind, TokenRole, Tokens};

/// An expert that a token went through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenExpert {
    /// The kind of the layer's attention.
    pub kind: Kind,
    /// The layer.
    pub layer: usize,
    /// The token, counted from 0.
    pub query: usize,
    /// The expert, counted from 0.
    pub expert: usize,
    /// Its share of the token's feed-forward, above 0; what shares sum to is the model's matter.
    pub share: f32,
}

impl TokenExpert {
    /// The experts of a layer's tokens, padding left out: token by token, the largest share first. Shape of `shares`:
    /// `[n, n_experts]`, 0 of those that a token does not go through.
    pub fn of_layer(kind: Kind, layer: usize, tokens: &Tokens, shares: &[f32], n_experts: usize) -> Vec<TokenExpert> {
        let mut found = Vec::new();
        for (query, (token, row)) in tokens.tokens.iter().zip(shares.chunks_exact(n_experts.max(1))).enumerate() {
            if token.role == TokenRole::Padding {
                continue;
            }
            let of = |(expert, share): (usize, &f32)| TokenExpert { kind, layer, query, expert, share: *share };
            let start = found.len();
            found.extend(row.iter().enumerate().filter(|(_, share)| **share > 0.0).map(of));
            found[start..].sort_by(|a, b| b.share.total_cmp(&a.share));
        }
        found
    }
}

impl Recording {
    /// The experts of a text's tokens, padding left out: layer by layer, token by token, the largest share first. Empty where no
    /// layer keeps [`Trace::Router`].
    ///
    /// # Errors
    /// When there is no such text, or the file cannot be read.
    pub fn experts(&self, item: usize) -> Result<Vec<TokenExpert>, Error> {
        let n_items = self.items.len();
        let text = self.items.get(item).ok_or(Error::NoItem { item, n_items })?;
        let mut found = Vec::new();
        for layer in &self.layers {
            let Some(router) = layer.traces.get(Trace::Router) else { continue };
            let n_experts = router.len() / (n_items * layer.shape.n_queries).max(1);
            let shares = router.read_all()?; // [n_items, n_queries, n_experts]
            let rows = shares.get(item * layer.shape.n_queries * n_experts..).unwrap_or_default();
            found.extend(TokenExpert::of_layer(layer.kind, layer.index, layer.query_tokens(text), rows, n_experts));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Shape;
    use crate::{Item, Layer, Provenance, Token, Weights};

    #[test]
    fn experts_come_with_the_largest_share_first_and_padding_has_none() {
        let token = |role| Token { role, ..Token::labelled("a") };
        let tokens = |last| Tokens { text: String::new(), tokens: vec![token(TokenRole::Text), token(last)] };
        let items =
            [TokenRole::Text, TokenRole::Padding].map(|last| Item { target: tokens(last), ..Item::default() }).to_vec();
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 2, d_head: 1, d_value: 1 };
        let mut layer = Layer::new(Kind::Decoder, 3, shape, Weights::Dense(vec![0.5; 8].into()));
        let shares = vec![0.25, 0.0, 0.75, 0.0, 1.0, 0.0, 0.5, 0.5, 0.0, 0.3, 0.3, 0.4]; // [2, 2, 3]
        layer.traces.insert(Trace::Router, shares);
        let recording = Recording { items, layers: vec![layer], provenance: Provenance::default() };
        let found = |item| -> Vec<(usize, usize, f32)> {
            recording.experts(item).unwrap().into_iter().map(|one| (one.query, one.expert, one.share)).collect()
        };
        assert_eq!(found(0), [(0, 2, 0.75), (0, 0, 0.25), (1, 1, 1.0)]);
        assert_eq!(found(1), [(0, 0, 0.5), (0, 1, 0.5)]);
        assert!(matches!(recording.experts(2), Err(Error::NoItem { item: 2, n_items: 2 })));
    }
}
