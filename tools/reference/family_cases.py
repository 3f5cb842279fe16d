"""The cases of families.py: for each a configuration of transformers, small enough to store, with the mechanisms on."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import transformers as t

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
    n_distinct: int = 4  # how many ids a generation must have, so that it is not one token again and again
    token_types: bool = False
    gains: dict[str, float] = field(default_factory=dict)  # standard deviation by a part of the tensor's name
    edit: Callable[[dict], None] = lambda config: None  # a last change to config.json
    generation: dict = field(default_factory=dict)  # more for generation_config.json
    inputs: Callable | None = None  # (config, generator) → runs, where the input is no text
    part: Callable = lambda model: model  # what of the model is run
    features: Callable | None = None  # (config, generator) → audio features to generate from
    packed: bool = False  # whether experts are stored in MXFP4

    def config(self):
        return self.configuration


def older_rope(config: dict) -> None:
    """The keys that configurations had before `rope_parameters`: nearly all on the hub have these."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    if "partial_rotary_factor" in rope:
        config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
    config["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None


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
            t.GptOssConfig(**gpt_oss | {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}),
            torch.bfloat16,
            gains={"experts": 0.3, "sinks": 1.0},
            packed=True,
        ),
    ]
    for case in cases:
        case.generates = case.model_class is not t.GPT2Model
    return cases


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


CASES = [*encoders(), *decoders(), *encoder_decoders(), *vision()]
