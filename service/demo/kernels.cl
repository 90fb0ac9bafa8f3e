/* Training of two small nets, float32, the same bits on every run.
 *
 * Every output element belongs to one work item, which sums in a written order: no atomics, no
 * order that depends on scheduling. FP_CONTRACT OFF keeps a compiler from fusing a product and a
 * sum on one device and not on another. Sizes are scalar arguments, so one build serves all nets.
 *
 * All parameters of a net lie in one buffer, `params`, and so do their gradients; `..._at` are
 * offsets into it. Matrices are row-major, weights [inputs, outputs]. A batch is `samples` rows.
 */
#pragma OPENCL FP_CONTRACT OFF

float sigmoid(const float x) { return 1.0f / (1.0f + exp(-x)); }

/* Grid (width, samples): the batch's images and labels, named by order[first ...]. */
__kernel void gather(__global const float *images, __global const int *labels,
                     __global const int *order, const int first, const int width,
                     __global float *batch, __global int *batch_labels)
{
    const int column = get_global_id(0), sample = get_global_id(1);
    const int source = order[first + sample];
    batch[sample * width + column] = images[source * width + column];
    if (column == 0)
        batch_labels[sample] = labels[source];
}

/* Grid (outputs, samples): y = x W + b, or max(0, that). */
__kernel void dense(__global const float *x, __global const float *params, const int weights_at,
                    const int bias_at, const int inputs, const int relu, __global float *y)
{
    const int column = get_global_id(0), sample = get_global_id(1);
    const int outputs = get_global_size(0);
    __global const float *weights = params + weights_at;
    float sum = params[bias_at + column];
    for (int k = 0; k < inputs; k++)
        sum += x[sample * inputs + k] * weights[k * outputs + column];
    y[sample * outputs + column] = relu ? fmax(sum, 0.0f) : sum;
}

/* Grid (samples): softmax cross entropy. Adds each sample's loss and hit to score[sample] and
 * score[samples + sample]; writes the gradient of the batch's mean loss. */
__kernel void softmax_loss(__global const float *logits, __global const int *labels,
                           const int classes, __global float *score, __global float *d_logits)
{
    const int sample = get_global_id(0), samples = get_global_size(0);
    const int label = labels[sample];
    __global const float *row = logits + sample * classes;
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (row[k] > row[best])
            best = k;
    const float top = row[best];
    float total = 0.0f;
    for (int k = 0; k < classes; k++)
        total += exp(row[k] - top);
    for (int k = 0; k < classes; k++)
        d_logits[sample * classes + k] =
            (exp(row[k] - top) / total - (k == label ? 1.0f : 0.0f)) / (float)samples;
    score[sample] += log(total) - (row[label] - top);
    score[samples + sample] += best == label ? 1.0f : 0.0f;
}

/* Grid (outputs, inputs + 1): gradient of W, and of b in the last row, over `samples` rows. */
__kernel void dense_gradient(__global const float *x, __global const float *d_y, const int samples,
                             __global float *grads, const int weights_at, const int bias_at)
{
    const int column = get_global_id(0), input = get_global_id(1);
    const int outputs = get_global_size(0), inputs = get_global_size(1) - 1;
    float sum = 0.0f;
    if (input == inputs) {
        for (int sample = 0; sample < samples; sample++)
            sum += d_y[sample * outputs + column];
        grads[bias_at + column] = sum;
    } else {
        for (int sample = 0; sample < samples; sample++)
            sum += x[sample * inputs + input] * d_y[sample * outputs + column];
        grads[weights_at + input * outputs + column] = sum;
    }
}

/* Grid (inputs, samples): gradient of a dense layer's input x; with `relu`, of what went into the
 * max(0, ...) that made x. */
__kernel void dense_backward(__global const float *d_y, __global const float *params,
                             const int weights_at, const int outputs, __global const float *x,
                             const int relu, __global float *d_x)
{
    const int input = get_global_id(0), sample = get_global_id(1);
    const int inputs = get_global_size(0);
    __global const float *weights = params + weights_at + input * outputs;
    float sum = 0.0f;
    for (int k = 0; k < outputs; k++)
        sum += d_y[sample * outputs + k] * weights[k];
    d_x[sample * inputs + input] = relu && x[sample * inputs + input] <= 0.0f ? 0.0f : sum;
}

/* Grid (hidden, samples), one work group of `hidden` items a sample, one item a unit: all steps of
 * an LSTM. gates = [x_t, h_{t-1}] W + b, in the order input, output, forget, candidate. Keeps what
 * the way back needs: joined [samples, steps, inputs + hidden], gates [samples, steps, 4, hidden],
 * cells [samples, steps, hidden]; `last` is the final h. */
__kernel void lstm_forward(__global const float *x, __global const float *params,
                           const int weights_at, const int bias_at, const int inputs,
                           const int steps, __global float *joined, __global float *gates,
                           __global float *cells, __global float *last)
{
    const int unit = get_local_id(0), sample = get_group_id(1);
    const int hidden = get_local_size(0), width = inputs + hidden;
    __global const float *weights = params + weights_at + unit;
    __global const float *bias = params + bias_at + unit;
    float c = 0.0f, h = 0.0f;
    for (int step = 0; step < steps; step++) {
        const int row = sample * steps + step;
        __global float *z = joined + row * width;
        for (int k = unit; k < inputs; k += hidden)
            z[k] = x[row * inputs + k];
        z[inputs + unit] = h;
        barrier(CLK_GLOBAL_MEM_FENCE); /* the whole group reads z */
        float in = bias[0], out = bias[hidden], forget = bias[2 * hidden],
              candidate = bias[3 * hidden];
        for (int k = 0; k < width; k++) {
            __global const float *w = weights + k * 4 * hidden;
            in += z[k] * w[0];
            out += z[k] * w[hidden];
            forget += z[k] * w[2 * hidden];
            candidate += z[k] * w[3 * hidden];
        }
        in = sigmoid(in);
        out = sigmoid(out);
        forget = sigmoid(forget);
        candidate = tanh(candidate);
        c = forget * c + in * candidate;
        h = out * tanh(c);
        __global float *kept = gates + row * 4 * hidden + unit;
        kept[0] = in;
        kept[hidden] = out;
        kept[2 * hidden] = forget;
        kept[3 * hidden] = candidate;
        cells[row * hidden + unit] = c;
    }
    last[sample * hidden + unit] = h;
}

/* Same grid: backward through time, from the gradient of the final h to the gradients of what went
 * into the gates, d_gates [samples, steps, 4, hidden]. */
__kernel void lstm_backward(__global const float *d_last, __global const float *params,
                            const int weights_at, const int inputs, const int steps,
                            __global const float *gates, __global const float *cells,
                            __global float *d_gates)
{
    const int unit = get_local_id(0), sample = get_group_id(1);
    const int hidden = get_local_size(0);
    __global const float *weights = params + weights_at + (inputs + unit) * 4 * hidden;
    float d_c = 0.0f, d_h = d_last[sample * hidden + unit];
    for (int step = steps - 1; step >= 0; step--) {
        const int row = sample * steps + step;
        __global const float *kept = gates + row * 4 * hidden + unit;
        const float in = kept[0], out = kept[hidden], forget = kept[2 * hidden],
                    candidate = kept[3 * hidden];
        const float squashed = tanh(cells[row * hidden + unit]);
        const float before = step > 0 ? cells[(row - 1) * hidden + unit] : 0.0f;
        d_c += d_h * out * (1.0f - squashed * squashed);
        __global float *d = d_gates + row * 4 * hidden;
        d[unit] = d_c * candidate * in * (1.0f - in);
        d[hidden + unit] = d_h * squashed * out * (1.0f - out);
        d[2 * hidden + unit] = d_c * before * forget * (1.0f - forget);
        d[3 * hidden + unit] = d_c * in * (1.0f - candidate * candidate);
        d_c *= forget;
        barrier(CLK_GLOBAL_MEM_FENCE); /* the whole group reads d */
        d_h = 0.0f;
        for (int k = 0; k < 4 * hidden; k++)
            d_h += d[k] * weights[k];
    }
}

/* Grid (parameters): Adam. `rate` carries the bias corrections, which the host knows. */
__kernel void adam(__global float *params, __global const float *grads, __global float *mean,
                   __global float *spread, const float rate, const float keep_mean,
                   const float keep_spread, const float tiny, const float decay)
{
    const int k = get_global_id(0);
    const float g = grads[k];
    const float m = keep_mean * mean[k] + (1.0f - keep_mean) * g;
    const float s = keep_spread * spread[k] + (1.0f - keep_spread) * g * g;
    mean[k] = m;
    spread[k] = s;
    params[k] -= rate * m / (sqrt(s) + tiny) + decay * params[k];
}
