"""Compares T-JEPA with the authors' modules, in the convention of the paper: [REG] is never masked or a target."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.models import TabularJEPA
from keras_reg.ops.joint_embedding import sinusoidal_positions
from tests.models.support import (
    GOLDEN,
    assign,
    encoder_arrays,
    encoder_weights,
    golden_model,
    numpy,
    predictor_arrays,
    predictor_weights,
)
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.tolerance import tolerance

# The authors' tables of positions are computed in float32.
POSITIONS = {0: "enc0/pe", 1: "enc1/pe", 3: "enc3/pe"}


# Keras rounds the scale of the predictor's attention, 1 / sqrt(2), to float32.
SCALED = {"rtol": 1e-5, "atol": 1e-7}


def close(got, expected, dtype, **more):
    np.testing.assert_allclose(got, expected, **{**tolerance(dtype), **more})


class WithGoldenMasks(TabularJEPA):
    """Uses the context and targets of the golden numbers."""

    def draw_masks(self, batch, training=True):
        context, targets = GOLDEN["mask_ctx"], GOLDEN["mask_tgt"].transpose(1, 0, 2)
        masks = context, np.ones(context.shape, bool), targets, np.ones(targets.shape, bool)
        return tuple(keras.ops.convert_to_tensor(mask, "bool" if mask.dtype == bool else "int32") for mask in masks)


def with_golden_positions(model, num_tokens):
    for encoder in (model.context_encoder, model.target_encoder):
        assert encoder.positions.shape == GOLDEN[POSITIONS[num_tokens]].shape
        encoder.positions = GOLDEN[POSITIONS[num_tokens]]
    model.predictor.positions = GOLDEN["pred/predictors.predictor_pos_embed"][0]
    return model


def test_sinusoidal_positions_match_golden_values():
    expected = GOLDEN["pe_enc_base100_h8_len7"]
    np.testing.assert_allclose(sinusoidal_positions(7, 8, 100.0, interleaved=True), expected, atol=1e-6)
    np.testing.assert_allclose(sinusoidal_positions(6, 4), GOLDEN["pe_pred_base1e4_d4_len6"], rtol=1e-12, atol=1e-12)


@NOT_ON_JAX
@pytest.mark.parametrize("num_tokens", [0, 1, 3])
def test_tabular_jepa_encoder_matches_golden_outputs(num_tokens, floatx):
    model = with_golden_positions(golden_model(num_tokens), num_tokens)
    encoder, x = model.context_encoder, GOLDEN["x"].astype(floatx)
    assign(encoder_weights(encoder), encoder_arrays(f"enc{num_tokens}", num_tokens))
    tokens = GOLDEN[f"enc{num_tokens}/tokens"]
    assert tokens.shape[1] == 6 + num_tokens
    # The authors' tokens were recorded before the position is added.
    close(numpy(encoder.tokenizer(x)), tokens[:, num_tokens:], floatx)
    if num_tokens:
        close(numpy(encoder.tokens.tokens), tokens[0, :num_tokens], floatx)
    close(numpy(encoder(x)), GOLDEN[f"enc{num_tokens}/out_full"][:, num_tokens:], floatx)


def test_tabular_jepa_type_embedding_matches_golden_outputs(floatx):
    model = with_golden_positions(golden_model(1, type_embedding=True), 1)
    assign(encoder_weights(model.context_encoder), encoder_arrays("enctype", 1, types=True))
    got = numpy(model.context_encoder(GOLDEN["x"].astype(floatx)))
    close(got, GOLDEN["enctype/out_full"][:, 1:], floatx)


@ON_TORCH
@pytest.mark.parametrize("dropout", [0.0, 1e-12])
def test_tabular_jepa_step_matches_golden_loss_and_gradients(dropout, floatx, compile_modes):
    """Compares a step of SGD(1), which subtracts the gradient from the weights, and the update of the target encoder.

    A dropout that drops nothing keeps the backend from fusing the attention.
    """
    scaled = SCALED if tolerance(floatx)["rtol"] < 1e-5 else {}
    modes = compile_modes if floatx == "float32" else compile_modes[:1]  # XLA on TensorFlow is less precise.
    if keras.backend.backend() == "jax":  # Without `jit_compile`, JAX compiles each operation separately.
        modes = [{"jit_compile": True}]
    for mode in modes:
        model = with_golden_positions(
            golden_model(1, WithGoldenMasks, num_targets=2, momentum=(0.996, 0.996), dropout=dropout), 1
        )
        online, target = (encoder_weights(e) for e in (model.context_encoder, model.target_encoder))
        assign(online, encoder_arrays("ctx", 1))
        assign(target, encoder_arrays("tgt", 1))
        predictor = predictor_weights(model.predictor)
        assign(predictor, predictor_arrays("pred"))
        assert len(online) + len(predictor) == len(model.trainable_variables)
        x = GOLDEN["x"].astype(floatx)
        if mode is modes[0]:
            masks = model.draw_masks(5)
            context = model.context_encoder(x, masks[0], masks[1])
            close(numpy(context), GOLDEN["paper/ctx_out"], floatx)
            predicted = numpy(model.predictor(context, masks)).transpose(1, 0, 2, 3).reshape(10, 3, 8)
            close(predicted, GOLDEN["paper/pred"], floatx, **scaled)
            targets = keras.ops.take_along_axis(model(x)[:, None], masks[2][..., None], axis=2)
            close(numpy(targets).transpose(1, 0, 2, 3).reshape(10, 3, 8), GOLDEN["paper/target"], floatx)
        model.compile(keras.optimizers.SGD(1.0), **mode)
        loss = float(model.train_on_batch(x))
        close(loss, GOLDEN["paper/loss"], floatx, **scaled)
        assert abs(loss - GOLDEN["code/loss"]) > 1e-2, "this is the loss of the release, whose features are off by one"
        gradients = encoder_arrays("paper/grad_ctx", 1), predictor_arrays("paper/grad_pred")
        before = encoder_arrays("ctx", 1), predictor_arrays("pred")
        for variables, start, expected in zip((online, predictor), before, gradients, strict=True):
            for variable, old, gradient in zip(variables, start, expected, strict=True):
                close(old - numpy(variable), gradient, floatx, **scaled, err_msg=variable.path)
        for variable, old, now in zip(target, encoder_arrays("tgt", 1), online, strict=True):
            close(numpy(variable), 0.996 * old + 0.004 * numpy(now), floatx, err_msg=variable.path)
        assert int(model.step) == 1


def test_tabular_jepa_target_matches_golden_moving_average(floatx):
    model = golden_model(1)
    assign(encoder_weights(model.context_encoder), encoder_arrays("ctx", 1))
    assign(encoder_weights(model.target_encoder), encoder_arrays("tgt", 1))
    model.update_target()
    for variable, expected in zip(encoder_weights(model.target_encoder), encoder_arrays("ema1", 1), strict=True):
        # The momentum of a step is computed in float32, so the tolerance is that of float32.
        np.testing.assert_allclose(numpy(variable), expected, rtol=1e-6, atol=1e-7, err_msg=variable.path)


def test_tabular_jepa_schedules_match_golden_values():
    """Compares schedules. The authors count steps from 1, so their first rate is that of step 1 of Keras."""
    decay = keras.optimizers.schedules.CosineDecay
    rate = decay(0.0, decay_steps=9, warmup_target=1e-3, warmup_steps=3)
    weight = decay(1e-5, decay_steps=12, alpha=1000.0)
    for schedule, name in ((rate, "lr_warmup1_ref1e-3"), (weight, "wd_1e-5_to_1e-2")):
        got = [float(schedule(step + 1)) for step in range(12)]
        np.testing.assert_allclose(got, GOLDEN[name], rtol=1e-4, atol=1e-9)
    model, momenta = golden_model(0), []
    model.total_steps.assign(12)
    for _ in range(13):
        for variable in model.target_encoder.trainable_weights + model.target_encoder.non_trainable_weights:
            if "seed" not in variable.path:
                variable.assign(numpy(variable) * 0 + 1)
        for variable in model.context_encoder.trainable_weights:
            variable.assign(numpy(variable) * 0)
        model.update_target()
        momenta.append(numpy(model.target_encoder.tokenizer.bias).mean())
    np.testing.assert_allclose(momenta, GOLDEN["ema_momentum_ipe3_ep4"], rtol=1e-6)
