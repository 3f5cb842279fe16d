"""The cases of families.py: for each a configuration of transformers, small enough to store, with the mechanisms on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import transformers as t

from alibi_bert import JinaBertForMaskedLM, MosaicBertForMaskedLM

ENCODER = {"vocab_size": 48, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
ENCODER |= {"max_position_embeddings": 40}
DECODER = {"vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 28}
DECODER |= {"max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
WINDOWED = DECODER | {"num_hidden_layers": 3}
SEQ2SEQ = {"vocab_size": 48, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4}
SEQ2SEQ |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 28, "max_position_embeddings": 40}
SEQ2SEQ |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}
T5 = {"vocab_size": 48, "d_model": 16, "d_kv": 6, "d_ff": 24, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4}
T5 |= {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 16, "decoder_start_token_id": 0}
# For models that normalise their embeddings: positions that outweigh the token itself.
POSITIONED = {"embed_positions": 1.5, "layernorm_embedding": 0.1, "embeddings_layernorm": 0.1}
ROUTED = {"mlp.gate.": 2.5, "gate_up_proj": 1.3 * 12**-0.5, "experts.down_proj": 0.5}  # choices that are clear; tensors of all experts
SCALED = {"embed": 0.04, "shared": 0.04}  # for models that multiply embeddings by √d
T5_GAINS = {".q.": 0.7, "relative_attention_bias": 1.0}  # no 1/√d in the scores


@dataclass
class Case:
    """One folder of reference values."""

    name: str
    model_class: type
    configuration: object
    dtype: torch.dtype = torch.float32
    max_shard_size: str = "1GB"
    long: int = 0  # tokens of the second run, beyond a window or a scaled range; 0 is none
    long_prompt: int = 0  # the same for a third generation
    implementation: str = "eager"  # "sdpa" where eager is at fault; families.py computes its weights
    averages: bool = False  # whether what the class returns as weights is the mean of all heads
    generates: bool = False
    in_f64: bool = False  # whether what the class computes in f32 whatever its type is computed in f64, too
    n_distinct: int = 4  # how many ids a generation must have, so that it is not one token again and again
    token_types: bool = False
    gains: dict[str, float] = field(default_factory=dict)  # standard deviation by a part of the tensor's name
    edit: Callable[[dict], None] = lambda config: None  # a last change to config.json
    rename: Callable[[str], str] | None = None  # a last change to the tensors' names
    original: bool = True  # whether tensors are laid out as on the hub, and not as transformers 5 keeps them
    generation: dict = field(default_factory=dict)  # more for generation_config.json
    inputs: Callable | None = None  # (config, generator) → runs, where the input is no text
    part: Callable = lambda model: model  # what of the model is run
    features: Callable | None = None  # (config, generator) → audio features to generate from
    packed: bool = False  # whether experts are stored in MXFP4
    stored: Callable[[dict, dict], dict] | None = None  # (config, tensors) → tensors, as files have them that transformers cannot read
    sight: object = None  # what texts with images are read (family_cases_sight.py)
    files: dict[str, str] = field(default_factory=dict)  # more files of the folder, by their names
    relaid: Callable[[dict], dict] | None = None  # the stored tensors, as older files name them

    def config(self):
        return self.configuration


def older_rope(config: dict) -> None:
    """The keys that configurations had before `rope_parameters`: nearly all on the hub have these."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None


def without_positions(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """No table of sines and cosines, which the class computes: what is drawn for it is none."""
    return {name: tensor for name, tensor in tensors.items() if "embed_positions" not in name}


def without_rope(config: dict) -> None:
    """No positions said: those of the class."""
    del config["rope_parameters"]


def scaled(rope_type: str, **settings) -> dict:
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10000.0, **settings}}


def encoders() -> list[Case]:
    bert = t.BertConfig(**ENCODER)
    roberta = {**ENCODER, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
    distilbert = t.DistilBertConfig(vocab_size=48, dim=24, n_layers=2, n_heads=4, hidden_dim=40, max_position_embeddings=40)
    modernbert = {**ENCODER, "num_hidden_layers": 3, "local_attention": 6, "pad_token_id": 0, "bos_token_id": 1}
    modernbert |= {"eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    deberta = {**ENCODER, "relative_attention": True, "max_relative_positions": -1, "position_buckets": 6}
    deberta |= {"norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": "p2c|c2p"}
    labels = {"num_labels": 3}
    return [
        Case("bert", t.BertForMaskedLM, bert, token_types=True),
        Case("bert-classifier", t.BertForSequenceClassification, t.BertConfig(**ENCODER, **labels), torch.float16),
        Case("roberta", t.RobertaForMaskedLM, t.RobertaConfig(**roberta)),
        Case("xlm-roberta", t.XLMRobertaForMaskedLM, t.XLMRobertaConfig(**roberta), torch.bfloat16),
        Case("data2vec-text", t.Data2VecTextForSequenceClassification, t.Data2VecTextConfig(**roberta, **labels)),
        Case("roformer", t.RoFormerForMaskedLM, t.RoFormerConfig(**ENCODER, embedding_size=16), token_types=True, relaid=without_positions),
        Case("roformer-classifier", t.RoFormerForSequenceClassification, t.RoFormerConfig(**ENCODER, **labels), torch.float16, relaid=without_positions),
        Case("megatron-bert", t.MegatronBertForMaskedLM, t.MegatronBertConfig(**ENCODER), token_types=True),
        Case("xlm-roberta-xl", t.XLMRobertaXLForMaskedLM, t.XLMRobertaXLConfig(**roberta), torch.float16),
        Case("roberta-prelayernorm", t.RobertaPreLayerNormForSequenceClassification, t.RobertaPreLayerNormConfig(**roberta, **labels)),
        Case("distilbert", t.DistilBertForMaskedLM, distilbert),
        Case("albert", t.AlbertForMaskedLM, t.AlbertConfig(**ENCODER, embedding_size=16), token_types=True),
        Case(
            "albert-groups",
            t.AlbertModel,
            t.AlbertConfig(**ENCODER | {"num_hidden_layers": 4}, embedding_size=16, num_hidden_groups=2),
        ),
        Case("electra", t.ElectraForPreTraining, t.ElectraConfig(**ENCODER, embedding_size=16), token_types=True),
        Case("electra-generator", t.ElectraForMaskedLM, t.ElectraConfig(**ENCODER, embedding_size=16)),
        Case(
            "mpnet",
            t.MPNetForMaskedLM,
            t.MPNetConfig(**ENCODER),
            long=24,
            gains={"relative_attention_bias": 1.0},
        ),
        Case("modernbert", t.ModernBertForMaskedLM, t.ModernBertConfig(**modernbert), long=14),
        Case("deberta-v2", t.DebertaV2ForMaskedLM, t.DebertaV2Config(**deberta, type_vocab_size=0), long=20),
        Case(
            "deberta-v2-unshared",
            t.DebertaV2Model,
            t.DebertaV2Config(
                **deberta | {"share_att_key": False, "position_buckets": -1, "norm_rel_ebd": "none"},
                type_vocab_size=2,
                position_biased_input=False,
                conv_kernel_size=3,
                conv_act="gelu",
            ),
        ),
        Case(
            "deberta-v3-classifier",
            t.DebertaV2ForSequenceClassification,
            t.DebertaV2Config(**deberta, type_vocab_size=0, position_biased_input=False, **labels),
            torch.float16,
            edit=older_deberta,
        ),
    ]


def protein_encoders() -> list[Case]:
    esmc = ENCODER | {"vocab_size": 40, "num_key_value_heads": 4, "intermediate_size": 28, "num_hidden_layers": 3, "num_attention_heads": 4}
    esmc |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "mask_token_id": 32}
    esm = {**ENCODER, "vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32, "token_dropout": True, "layer_norm_eps": 1e-5}
    vocabulary = {"vocab.txt": "\n".join(ESM_PIECES)}
    return [
        Case(
            "esm",
            t.EsmForMaskedLM,
            t.EsmConfig(**esm, position_embedding_type="rotary", emb_layer_norm_before=False),
            inputs=proteins,
            files=vocabulary,
            relaid=older_esm,
            gains={"contact_head": 6.0},
        ),
        Case("esmc", t.EsmcForMaskedLM, t.EsmcConfig(**esmc)),
        Case("esmc-classifier", t.EsmcForSequenceClassification, t.EsmcConfig(**esmc, num_labels=3, attention_bias=True, mlp_bias=True), torch.bfloat16),
        Case(
            "esm-1b",
            t.EsmForSequenceClassification,
            t.EsmConfig(**esm, emb_layer_norm_before=True, num_labels=3),
            torch.float16,
            inputs=proteins,
        ),
    ]


def rotary_encoders() -> list[Case]:
    grouped = ENCODER | {"num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "mask_token_id": 3}
    labels = {"num_labels": 3}
    return [
        Case("nomic-bert", t.NomicBertForMaskedLM, t.NomicBertConfig(**ENCODER), token_types=True, long=16),
        Case("nomic-bert-classifier", t.NomicBertForSequenceClassification, t.NomicBertConfig(**ENCODER, **labels), torch.float16),
        Case("gte", t.GteForMaskedLM, t.GteConfig(**ENCODER, type_vocab_size=2), token_types=True, long=16),
        Case(
            "gte-classifier",
            t.GteForSequenceClassification,
            t.GteConfig(**ENCODER, **labels, type_vocab_size=0, rope_parameters=ntk(10000.0, 8.0, 6)),
            torch.bfloat16,
            long=16,
        ),
        Case(
            "jina-bert-v2",
            JinaBertForMaskedLM,
            t.BertConfig(**ENCODER | {"num_attention_heads": 6}, position_embedding_type="alibi", feed_forward_type="reglu"),
            token_types=True,
            long=16,
        ),
        Case("dnabert-2", MosaicBertForMaskedLM, t.BertConfig(**ENCODER, alibi_starting_size=40), torch.float16, long=20),
        Case("jina-v3", t.JinaEmbeddingsV3ForMaskedLM, t.JinaEmbeddingsV3Config(**ENCODER), long=16),
        Case("eurobert", t.EuroBertForMaskedLM, t.EuroBertConfig(**grouped), long=16),
        Case(
            "eurobert-classifier",
            t.EuroBertForSequenceClassification,
            t.EuroBertConfig(**grouped, **labels, classifier_pooling="bos"),
            torch.bfloat16,
            edit=older_rope,
        ),
    ]


def ntk(base: float, factor: float, d_head: int) -> dict:
    """The scaling that GTE's own code calls `ntk`: another base, and all frequencies divided by the same number."""
    return {"rope_type": "linear", "rope_theta": base * factor, "factor": factor ** (2 / d_head)}


ESM_PIECES = "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>".split()


def proteins(config, generator: torch.Generator) -> dict:
    """Residues between start and end, some of them masked; the shorter texts are padded."""
    ids = torch.randint(4, 24, (3, 11), generator=generator)
    ids[:, 0] = 0
    ids[0, 4] = ids[0, 5] = ids[1, 3] = config.mask_token_id
    for row, end in enumerate([10, 6, 3]):
        ids[row, end] = 2
        ids[row, end + 1 :] = config.pad_token_id
    mask = (ids != config.pad_token_id).long()
    return {"padded": {"input_ids": ids, "attention_mask": mask}}


def older_esm(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The frequencies layer by layer and rounded, and a table of positions that is not used: so are those of the hub."""
    stored = next(name for name in tensors if name.endswith("rotary_embeddings.inv_freq"))
    frequencies = tensors.pop(stored).half().float()
    tensors["esm.embeddings.position_embeddings.weight"] = torch.ones(40, 24)
    for layer in range(2):
        tensors[f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq"] = frequencies.clone()
    return tensors


def older_deberta(config: dict) -> None:
    """The terms as a text with bars, as the hub's files have them."""
    config["pos_att_type"] = "|".join(config["pos_att_type"])


def decoders() -> list[Case]:
    gpt2 = {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 40}
    gpt2 |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    gpt_neo = {"vocab_size": 48, "hidden_size": 16, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 40}
    gpt_neo |= {"attention_types": [[["global", "local"], 2]], "window_size": 5, "intermediate_size": 32}
    gpt_neo |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    neox = {**DECODER, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}
    opt = {"vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "ffn_dim": 40}
    opt |= {"max_position_embeddings": 40, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1}
    bloom = {"vocab_size": 48, "hidden_size": 24, "n_layer": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
    falcon = {key: value for key, value in DECODER.items() if key != "intermediate_size"} | {"ffn_hidden_size": 28}
    grouped = DECODER | {"num_key_value_heads": 2}
    gpt_oss = WINDOWED | {"num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}
    gpt_oss |= {"sliding_window": 5, "intermediate_size": 16}
    gpt_oss |= scaled("yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=32.0, beta_slow=1.0, truncate=False)
    mixture = grouped | {"hidden_size": 12, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 8}
    mixture |= {"num_experts_per_tok": 2}
    qwen_mixture = mixture | {"num_experts": 5, "moe_intermediate_size": 6, "intermediate_size": 14}
    gemma3 = WINDOWED | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 5, "query_pre_attn_scalar": 12}
    long_factors = {"short_factor": [1.0, 1.3], "long_factor": [1.5, 4.0]}
    cases = [
        Case("gpt2", t.GPT2LMHeadModel, t.GPT2Config(**gpt2), max_shard_size="20KB"),
        Case("gpt2-layer-scaled", t.GPT2Model, t.GPT2Config(**gpt2, scale_attn_by_inverse_layer_idx=True)),
        Case("gpt-neo", t.GPTNeoForCausalLM, t.GPTNeoConfig(**gpt_neo), long=16, long_prompt=9, gains={"q_proj": 0.8}),
        Case("gpt-neox", t.GPTNeoXForCausalLM, t.GPTNeoXConfig(**neox)),
        Case("gpt-neox-sequential", t.GPTNeoXForCausalLM, t.GPTNeoXConfig(**neox, use_parallel_residual=False), torch.float16, edit=older_neox),
        Case("gptj", t.GPTJForCausalLM, t.GPTJConfig(**gpt2, rotary_dim=2, n_inner=40)),
        Case("opt", t.OPTForCausalLM, t.OPTConfig(**opt)),
        Case("opt-350m", t.OPTForCausalLM, t.OPTConfig(**opt, word_embed_proj_dim=12, do_layer_norm_before=False), torch.float16),
        Case("bloom", t.BloomForCausalLM, t.BloomConfig(**bloom, n_head=4), gains=POSITIONED),
        Case("bloom-6-heads", t.BloomForCausalLM, t.BloomConfig(**bloom, n_head=6), torch.bfloat16, n_distinct=2, gains=POSITIONED),
        Case("llama", t.LlamaForCausalLM, t.LlamaConfig(**grouped)),
        Case("llama-ungrouped", t.LlamaForCausalLM, t.LlamaConfig(**DECODER), torch.bfloat16, edit=older_rope),
        Case("llama-multi-query", t.LlamaForCausalLM, t.LlamaConfig(**DECODER, num_key_value_heads=1, tie_word_embeddings=True)),
        Case("llama-linear", t.LlamaForCausalLM, t.LlamaConfig(**grouped, **scaled("linear", factor=4.0)), torch.bfloat16, long=24, edit=older_rope),
        Case(
            "llama-dynamic",
            t.LlamaForCausalLM,
            t.LlamaConfig(**grouped | {"max_position_embeddings": 16}, **scaled("dynamic", factor=2.0)),
            torch.bfloat16,
            long=24,
            edit=older_rope,
        ),
        Case(
            "llama3",
            t.LlamaForCausalLM,
            t.LlamaConfig(
                **grouped | {"tie_word_embeddings": True, "head_dim": 8},
                **scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16),
            ),
            long=24,
            edit=older_rope,
        ),
        Case(
            "llama-yarn",
            t.LlamaForCausalLM,
            t.LlamaConfig(**grouped | {"head_dim": 8}, **scaled("yarn", factor=4.0, original_max_position_embeddings=16)),
            long=24,
        ),
        Case("mistral", t.MistralForCausalLM, t.MistralConfig(**grouped, sliding_window=5), long=16, long_prompt=9),
        Case("qwen2", t.Qwen2ForCausalLM, t.Qwen2Config(**grouped, tie_word_embeddings=True)),
        Case(
            "qwen2-windowed",
            t.Qwen2ForCausalLM,
            t.Qwen2Config(**WINDOWED | {"num_key_value_heads": 1}, use_sliding_window=True, sliding_window=5, max_window_layers=1),
            long=16,
            long_prompt=9,
        ),
        Case("qwen3", t.Qwen3ForCausalLM, t.Qwen3Config(**grouped, head_dim=8)),
        Case("gemma", t.GemmaForCausalLM, t.GemmaConfig(**DECODER, num_key_value_heads=1, head_dim=8), gains=SCALED),
        Case(
            "gemma2",
            t.Gemma2ForCausalLM,
            t.Gemma2Config(
                **grouped, head_dim=8, sliding_window=5, query_pre_attn_scalar=12,
                attn_logit_softcapping=2.0, final_logit_softcapping=5.0,
            ),
            long=16,
            long_prompt=9,
            gains=SCALED,
        ),
        Case(
            "gemma3",
            t.Gemma3ForCausalLM,
            t.Gemma3TextConfig(**gemma3, layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
            long=16,
            long_prompt=9,
            gains=SCALED,
        ),
        Case(
            "gemma3-older-config",
            t.Gemma3ForCausalLM,
            t.Gemma3TextConfig(
                **gemma3,
                layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                rope_parameters={
                    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                },
            ),
            edit=older_gemma3,
            gains=SCALED,
        ),
        Case("phi", t.PhiForCausalLM, t.PhiConfig(**grouped | {"hidden_size": 32}, partial_rotary_factor=0.5)),
        Case("phi-qk-norm", t.PhiForCausalLM, t.PhiConfig(**DECODER | {"hidden_size": 32}, qk_layernorm=True, partial_rotary_factor=0.5), torch.float16, edit=older_rope),
        Case("phi3", t.Phi3ForCausalLM, t.Phi3Config(**grouped, sliding_window=5), long=16),
        Case(
            "phi3-longrope",
            t.Phi3ForCausalLM,
            t.Phi3Config(
                **grouped,
                original_max_position_embeddings=16,
                rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, "original_max_position_embeddings": 16, **long_factors},
            ),
            long=24,
        ),
        Case("falcon-7b", t.FalconForCausalLM, t.FalconConfig(**falcon)),
        Case("falcon-40b", t.FalconForCausalLM, t.FalconConfig(**falcon, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=2)),
        # with ALiBi, eager of transformers 5.23 adds the bias twice: once to the mask, once to the scores
        Case("falcon-rw", t.FalconForCausalLM, t.FalconConfig(**falcon, alibi=True, multi_query=False, parallel_attn=False, bias=True), torch.float16, implementation="sdpa"),
        # heads enough that slopes are no powers of two, and that transformers rounds them and the bias to bf16
        Case(
            "falcon-rw-24-heads",
            t.FalconForCausalLM,
            t.FalconConfig(
                **falcon | {"hidden_size": 48, "num_attention_heads": 24, "num_hidden_layers": 1},
                alibi=True, multi_query=False, parallel_attn=False, bias=True,
            ),
            torch.bfloat16,
            implementation="sdpa",
            long=62,
        ),
        Case("stablelm", t.StableLmForCausalLM, t.StableLmConfig(**grouped | {"hidden_size": 32}, use_qkv_bias=True)),
        Case(
            "stablelm-2-12b",
            t.StableLmForCausalLM,
            t.StableLmConfig(**grouped | {"hidden_size": 32}, qk_layernorm=True, use_parallel_residual=True),
            torch.bfloat16,
            edit=older_rope,
        ),
        Case("olmo", t.OlmoForCausalLM, t.OlmoConfig(**grouped, clip_qkv=2.0)),
        Case("olmo2", t.Olmo2ForCausalLM, t.Olmo2Config(**grouped)),
        Case("smollm3", t.SmolLM3ForCausalLM, t.SmolLM3Config(**WINDOWED | {"num_key_value_heads": 2}, no_rope_layers=[1, 0, 1])),
        Case("mixtral", t.MixtralForCausalLM, t.MixtralConfig(**mixture, num_local_experts=4), gains=ROUTED, edit=older_rope),
        Case(
            "mixtral-stacked",
            t.MixtralForCausalLM,
            t.MixtralConfig(**mixture, num_local_experts=4, sliding_window=5),
            torch.bfloat16,
            long=16,
            gains=ROUTED,
            original=False,
        ),
        Case("qwen2-moe", t.Qwen2MoeForCausalLM, t.Qwen2MoeConfig(**qwen_mixture, shared_expert_intermediate_size=10), gains=ROUTED),
        Case(
            "qwen2-moe-sparse",
            t.Qwen2MoeForCausalLM,
            t.Qwen2MoeConfig(
                **qwen_mixture | {"num_hidden_layers": 3}, shared_expert_intermediate_size=10, decoder_sparse_step=2,
                use_sliding_window=True, sliding_window=5, max_window_layers=2, norm_topk_prob=True, qkv_bias=False,
            ),
            torch.float16,
            long=16,
            gains=ROUTED,
            original=False,
        ),
        Case("qwen3-moe", t.Qwen3MoeForCausalLM, t.Qwen3MoeConfig(**qwen_mixture, head_dim=8, norm_topk_prob=True, mlp_only_layers=[0]), gains=ROUTED, edit=older_rope),
        Case("olmoe", t.OlmoeForCausalLM, t.OlmoeConfig(**mixture | {"num_key_value_heads": 2}, num_experts=5, clip_qkv=1.5), gains=ROUTED),
        Case(
            "gpt-oss",
            t.GptOssForCausalLM,
            t.GptOssConfig(**gpt_oss, layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
            torch.bfloat16,
            long=16,
            long_prompt=9,
            gains={"experts": 0.3, "sinks": 1.0},
        ),
        Case(
            "gpt-oss-mxfp4",
            t.GptOssForCausalLM,
            t.GptOssConfig(**{key: value for key, value in gpt_oss.items() if key != "rope_parameters"} | {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}),
            torch.bfloat16,
            edit=without_rope,
            gains={"experts": 0.3, "sinks": 1.0},
            packed=True,
        ),
    ]
    for case in cases:
        case.generates = case.model_class is not t.GPT2Model
    return cases


def later_decoders() -> list[Case]:
    grouped = DECODER | {"num_key_value_heads": 2}
    wide = grouped | {"hidden_size": 32}  # heads of 8 columns
    windowed = WINDOWED | {"num_key_value_heads": 2, "sliding_window": 5}
    layers = {kind: f"{kind}_attention" for kind in ("full", "sliding")}
    mixed = {"layer_types": [layers["sliding"], layers["full"], layers["sliding"]]}
    factors = {"embedding_multiplier": 3.0, "attention_multiplier": 0.3, "residual_multiplier": 0.4, "logits_scaling": 2.0}
    yarn = scaled("yarn", factor=4.0, original_max_position_embeddings=16)["rope_parameters"]
    plain = scaled("default")["rope_parameters"]
    llama3 = scaled("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
    # OLMo 3's base: of an older configuration transformers takes no other for layers with a window
    olmo3 = windowed | {**mixed, "rope_parameters": {kind: rope | {"rope_theta": 500000.0} for kind, rope in {layers["full"]: yarn, layers["sliding"]: plain}.items()}}
    bigcode = {"vocab_size": 48, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 40, "n_inner": 28}
    bigcode |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    mpt = {"vocab_size": 48, "d_model": 24, "n_layers": 2, "max_seq_len": 64, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    cases = [
        Case("olmo3", t.Olmo3ForCausalLM, t.Olmo3Config(**olmo3), long=20, long_prompt=9),
        Case("olmo3-older-config", t.Olmo3ForCausalLM, t.Olmo3Config(**olmo3), torch.bfloat16, long=20, edit=older_olmo3),
        Case("granite", t.GraniteForCausalLM, t.GraniteConfig(**grouped, **factors)),
        Case(
            "granite-tied",
            t.GraniteForCausalLM,
            t.GraniteConfig(**grouped, **factors, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
            torch.bfloat16,
            edit=older_rope,
        ),
        Case("cohere", t.CohereForCausalLM, t.CohereConfig(**grouped, logit_scale=0.3)),
        Case(
            "cohere-qk-norm",
            t.CohereForCausalLM,
            t.CohereConfig(**grouped, logit_scale=0.3, use_qk_norm=True, attention_bias=True),
            torch.bfloat16,
            edit=older_rope,
        ),
        Case("cohere2", t.Cohere2ForCausalLM, t.Cohere2Config(**windowed, logit_scale=0.5, **mixed), long=16, long_prompt=9),
        Case("cohere2-older-config", t.Cohere2ForCausalLM, t.Cohere2Config(**windowed, logit_scale=0.5, **mixed), torch.bfloat16, long=16, edit=older_cohere2),
        Case("glm", t.GlmForCausalLM, t.GlmConfig(**grouped, head_dim=8)),
        Case("glm4", t.Glm4ForCausalLM, t.Glm4Config(**grouped, head_dim=8, attention_bias=False), torch.bfloat16, edit=older_rope),
        Case("starcoder2", t.Starcoder2ForCausalLM, t.Starcoder2Config(**grouped, sliding_window=5), long=16, long_prompt=9),
        Case(
            "starcoder2-without-biases",
            t.Starcoder2ForCausalLM,
            t.Starcoder2Config(**grouped, use_bias=False, tie_word_embeddings=False),
            torch.float16,
            edit=older_rope,
        ),
        Case("nemotron", t.NemotronForCausalLM, t.NemotronConfig(**wide)),
        Case(
            "nemotron-biases",
            t.NemotronForCausalLM,
            t.NemotronConfig(**wide, attention_bias=True, mlp_bias=True),
            torch.bfloat16,
            edit=older_rope,
        ),
        Case("exaone", t.LlamaForCausalLM, t.ExaoneConfig(**wide, **llama3), long=24, edit=hubs_exaone),
        Case("exaone4", t.Exaone4ForCausalLM, t.Exaone4Config(**windowed, **mixed), long=16, long_prompt=9),
        Case(
            "exaone4-without-windows",
            t.Exaone4ForCausalLM,
            t.Exaone4Config(**wide, **llama3, sliding_window=None, layer_types=[layers["full"]] * 2),
            torch.bfloat16,
            long=24,
            edit=older_rope,
        ),
        Case(
            "internlm2",
            t.LlamaForCausalLM,
            t.LlamaConfig(**grouped | {"max_position_embeddings": 16}, **scaled("dynamic", factor=2.0), attention_bias=True),
            long=24,
            stored=as_internlm2,
        ),
        Case("internlm3", t.LlamaForCausalLM, t.InternLM3Config(**grouped, head_dim=8, attention_bias=True, mlp_bias=True), edit=hubs_internlm3),
        Case("ministral", t.MinistralForCausalLM, t.MinistralConfig(**windowed, **mixed, head_dim=4), long=16, long_prompt=9),
        Case("hunyuan", t.HunYuanDenseV1ForCausalLM, t.HunYuanDenseV1Config(**grouped, head_dim=8, **scaled("dynamic", factor=1.0, alpha=50.0)), long=24, gains={"query_layernorm": 1.5}),
        Case("hunyuan-older", t.HunYuanDenseV1ForCausalLM, t.HunYuanDenseV1Config(**grouped, head_dim=4, attention_bias=True, tie_word_embeddings=True), torch.bfloat16, edit=older_rope),
        Case("apertus", t.ApertusForCausalLM, t.ApertusConfig(**wide, **llama3), long=24, edit=older_rope, gains={"act_fn": 0.5}),
        Case("apertus-biased", t.ApertusForCausalLM, t.ApertusConfig(**wide, attention_bias=True), torch.bfloat16, edit=without_rope, gains={"act_fn": 0.5}),
        Case("seed-oss", t.SeedOssForCausalLM, t.SeedOssConfig(**grouped, head_dim=8)),
        Case("arcee", t.ArceeForCausalLM, t.ArceeConfig(**wide, rope_parameters=yarn), long=24, edit=older_rope),
        Case("helium", t.HeliumForCausalLM, t.HeliumConfig(**grouped, head_dim=4)),
        Case("ernie4-5", t.Ernie4_5ForCausalLM, t.Ernie4_5Config(**grouped, head_dim=8, use_bias=True), torch.bfloat16, edit=older_rope),
        Case("gpt-bigcode", t.GPTBigCodeForCausalLM, t.GPTBigCodeConfig(**bigcode)),
        Case("gpt-bigcode-multi-head", t.GPTBigCodeForCausalLM, t.GPTBigCodeConfig(**bigcode, multi_query=False), torch.float16),
        Case("mpt", t.MptForCausalLM, t.MptConfig(**mpt, n_heads=4)),
        Case(
            "mpt-clipped",
            t.MptForCausalLM,
            t.MptConfig(**mpt, n_heads=6, attn_config={"clip_qkv": 2.0, "softmax_scale": 0.4}),
            torch.bfloat16,
        ),
    ]
    latent = DECODER | {"num_key_value_heads": 4, "kv_lora_rank": 8, "q_lora_rank": 6, "qk_nope_head_dim": 6, "qk_rope_head_dim": 4, "v_head_dim": 5}
    latent |= {"first_k_dense_replace": 1, "n_routed_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
    latent |= {"n_group": 3, "topk_group": 2, "routed_scaling_factor": 1.5, "n_shared_experts": 2}
    latent |= {"rope_parameters": yarn | {"mscale": 0.7, "mscale_all_dim": 0.9}}
    experts = {"long": 24, "gains": {".experts.": 4.0}}
    straight = latent | {"q_lora_rank": None, "topk_method": "greedy"}
    cases += [
        Case("deepseek-v2", t.DeepseekV2ForCausalLM, t.DeepseekV2Config(**latent, topk_method="group_limited_greedy"), **experts),
        Case("deepseek-v2-lite", t.DeepseekV2ForCausalLM, t.DeepseekV2Config(**straight), torch.bfloat16, edit=older_rope, **experts),
        Case("deepseek-v3", t.DeepseekV3ForCausalLM, t.DeepseekV3Config(**latent), **experts),
        Case("deepseek-v3-older-config", t.DeepseekV3ForCausalLM, t.DeepseekV3Config(**latent, attention_bias=True), torch.bfloat16, edit=hubs_deepseek_v3, **experts),
    ]
    for case in cases:
        case.generates = True
    return cases


def hubs_deepseek_v3(config: dict) -> None:
    older_rope(config)
    config |= {"scoring_func": "sigmoid", "topk_method": "noaux_tc", "moe_layer_freq": 1}


def older_olmo3(config: dict) -> None:
    rope = config.pop("rope_parameters")["full_attention"]
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope


def older_cohere2(config: dict) -> None:
    older_rope(config)
    del config["layer_types"]
    config["sliding_window_pattern"] = 2


def hubs_exaone(config: dict) -> None:
    older_rope(config)
    config["architectures"] = ["ExaoneForCausalLM"]
    for name, older in {"num_hidden_layers": "num_layers", "rms_norm_eps": "layer_norm_epsilon", "hidden_act": "activation_function"}.items():
        config[older] = config.pop(name)


def hubs_internlm3(config: dict) -> None:
    older_rope(config)
    config["architectures"] = ["InternLM3ForCausalLM"]
    config["qkv_bias"] = config.pop("attention_bias")
    config["bias"] = config.pop("mlp_bias")


def as_internlm2(config: dict, tensors: dict) -> dict:
    """A Llama's tensors as InternLM 2 names them, with one matrix for queries, keys and values: for each key–value head its
    query heads, its key, its value."""
    older_rope(config)
    n_groups, d_head = config["num_key_value_heads"], config["head_dim"]
    config |= {"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"], "bias": config.pop("attention_bias")}
    parts = {"self_attn.o_proj": "attention.wo", "mlp.gate_proj": "feed_forward.w1", "mlp.up_proj": "feed_forward.w3"}
    parts |= {"mlp.down_proj": "feed_forward.w2", "input_layernorm": "attention_norm", "post_attention_layernorm": "ffn_norm"}
    parts |= {"lm_head": "output", "embed_tokens": "tok_embeddings"}
    stored = {}
    for name, tensor in tensors.items():
        if "self_attn.q_proj" in name:
            all_three = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            groups = [part.reshape(n_groups, -1, d_head, *part.shape[1:]) for part in all_three]
            stored[name.replace("self_attn.q_proj", "attention.wqkv")] = torch.cat(groups, 1).reshape(-1, *tensor.shape[1:])
        elif not name.rpartition(".")[0].endswith(("k_proj", "v_proj")):
            part = next((part for part in parts if part in name), "")
            stored[name.replace(part, parts[part]) if part else name] = tensor
    return stored


def older_neox(config: dict) -> None:
    rope = config.pop("rope_parameters")
    config |= {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"]}


def older_gemma3(config: dict) -> None:
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["full_attention"].pop("rope_theta")
    config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    config["rope_scaling"] = rope["full_attention"]
    config["sliding_window_pattern"] = 2
    del config["layer_types"]


def encoder_decoders() -> list[Case]:
    m2m = SEQ2SEQ | {"scale_embedding": True}
    cases = [
        Case("t5", t.T5ForConditionalGeneration, t.T5Config(**T5, tie_word_embeddings=True), long=20, gains=T5_GAINS),
        Case(
            "t5-v1.1",
            t.T5ForConditionalGeneration,
            t.T5Config(**T5 | {"d_kv": 8, "num_decoder_layers": 3}, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
            torch.bfloat16,
            gains=T5_GAINS,
        ),
        Case("mt5", t.MT5ForConditionalGeneration, t.MT5Config(**T5, tie_word_embeddings=False), gains=T5_GAINS),
        Case("bart", t.BartForConditionalGeneration, t.BartConfig(**SEQ2SEQ | {"decoder_layers": 3}, forced_eos_token_id=2), gains=POSITIONED, n_distinct=3),
        Case("mbart", t.MBartForConditionalGeneration, t.MBartConfig(**m2m), torch.float16, gains=POSITIONED | SCALED),
        Case(
            "marian",
            t.MarianMTModel,
            t.MarianConfig(
                **SEQ2SEQ | {"pad_token_id": 47, "decoder_start_token_id": 47, "eos_token_id": 0, "bos_token_id": None},
                scale_embedding=True, static_position_embeddings=True, activation_function="swish",
                share_encoder_decoder_embeddings=True, forced_eos_token_id=0,
            ),
            max_shard_size="40KB",
        ),
        Case("m2m-100", t.M2M100ForConditionalGeneration, t.M2M100Config(**m2m), torch.bfloat16, gains=POSITIONED | SCALED),
        Case("pegasus", t.PegasusForConditionalGeneration, t.PegasusConfig(**m2m | {"pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 1}, forced_eos_token_id=1)),
    ]
    whisper = {"vocab_size": 48, "num_mel_bins": 8, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2}
    whisper |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
    whisper |= {"max_source_positions": 14, "max_target_positions": 24, "pad_token_id": 0, "bos_token_id": 1}
    whisper |= {"eos_token_id": 2, "decoder_start_token_id": 3, "suppress_tokens": None, "begin_suppress_tokens": None}
    cases.append(
        Case(
            "whisper",
            t.WhisperForConditionalGeneration,
            t.WhisperConfig(**whisper),
            inputs=whisper_inputs,
            features=lambda config, generator: features(config, 1, generator),
        )
    )
    speech = {"lang_to_id": {"<|de|>": 5, "<|en|>": 6, "<|fr|>": 7}, "task_to_id": {"transcribe": 8, "translate": 9}}
    speech |= {"no_timestamps_token_id": 10, "is_multilingual": True, "forced_decoder_ids": [[1, None], [2, 8]]}
    speech |= {"suppress_tokens": [0, 1, 3, 5, 6, 7, 8, 9, 10, 19], "begin_suppress_tokens": [2, 20]}
    cases.append(
        Case(
            "whisper-multilingual",
            t.WhisperForConditionalGeneration,
            t.WhisperConfig(**whisper | {"encoder_layers": 1, "decoder_layers": 1}),
            torch.float16,
            generation=speech,
            n_distinct=8,  # four tags among them
            inputs=whisper_inputs,
            features=lambda config, generator: features(config, 1, generator),
        )
    )
    for case in cases:
        case.generates = True
    return cases


def features(config, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Log-mel features as Whisper takes them: twice as many frames as positions. Shape [batch, n_mels, n_frames]."""
    return torch.randn((batch, config.num_mel_bins, 2 * config.max_source_positions), generator=generator).double()


def whisper_inputs(config, generator: torch.Generator) -> dict:
    ids = torch.randint(4, config.vocab_size, (2, 7), generator=generator)
    ids[:, 0] = config.decoder_start_token_id
    return {"features": {"input_features": features(config, 2, generator), "decoder_input_ids": ids}}


def vision() -> list[Case]:
    image = {"image_size": 12, "patch_size": 4, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    labels = {"num_labels": 3}
    mlp = image | {"intermediate_size": 40}
    dino = image | {"mlp_ratio": 2}
    clip_text = {"vocab_size": 48, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return [
        Case("vit", t.ViTForImageClassification, t.ViTConfig(**mlp, **labels), inputs=pixels),
        Case("vit-model", t.ViTModel, t.ViTConfig(**mlp), torch.float16, inputs=pixels),
        Case("deit", t.DeiTForImageClassificationWithTeacher, t.DeiTConfig(**mlp, **labels), inputs=pixels),
        Case("dinov2", t.Dinov2Model, t.Dinov2Config(**dino), inputs=pixels_of_any_size),
        Case("dinov2-classifier", t.Dinov2ForImageClassification, t.Dinov2Config(**dino, **labels), inputs=pixels),
        Case("dinov2-giant", t.Dinov2Model, t.Dinov2Config(**dino, use_swiglu_ffn=True), inputs=pixels),
        Case("dinov2-registers", t.Dinov2WithRegistersModel, t.Dinov2WithRegistersConfig(**dino, num_register_tokens=3), inputs=pixels_of_any_size),
        Case("clip", t.CLIPModel, t.CLIPConfig(text_config=clip_text, vision_config=mlp, projection_dim=16), inputs=lambda config, generator: pixels(config.vision_config, generator), part=lambda model: model.vision_model),
        Case("clip-vision", t.CLIPVisionModel, t.CLIPVisionConfig(**mlp, projection_dim=16), inputs=pixels),
    ]


def pixels(config, generator: torch.Generator) -> dict:
    """Normalised images. Shape [batch, 3, height, width]."""
    shape = (2, 3, config.image_size, config.image_size)
    return {"images": {"pixel_values": torch.randn(shape, generator=generator).double()}}


def pixels_of_any_size(config, generator: torch.Generator) -> dict:
    """The same, and one image each with a finer and a coarser grid of patches: positions are interpolated."""
    runs = pixels(config, generator)
    for name, size in {"wide": (16, 28), "small": (8, 4)}.items():
        runs[name] = {"pixel_values": torch.randn((1, 3, *size), generator=generator).double()}
    return runs


CASES = [*encoders(), *rotary_encoders(), *protein_encoders(), *decoders(), *later_decoders(), *encoder_decoders(), *vision()]
