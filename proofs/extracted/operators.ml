(* The linear maps of a graph in the types of the verified checker. [Unchecked] for a form that those have no place
   for. *)

open Refusal
open Maps

let to_q q = { Verified.qnum = Q.num q; qden = Q.den q }
let to_array numbers ~bits where =
  let mantissa, exponent = Arrays.dyadic numbers ~bits where in
  { Verified.mantissa; exponent = Z.of_int exponent }

(* The coordinates of entry i of an array, in C order. *)
let coordinates shape i =
  let step n (rest, found) = (rest / n, (rest mod n) :: found) in
  snd (List.fold_right step shape (i, []))

let strides shape = snd (List.fold_right (fun n (size, found) -> (size * n, size :: found)) shape (1, []))
let place strides at = List.fold_left2 (fun sum s c -> sum + (s * c)) 0 strides at

(* Where output i of a gather comes from. *)
let gathered runs =
  let run = Runs.finder (Array.map (fun (_, _, count) -> count) runs) in
  fun i ->
    let r, k = run i in
    let first, step, _ = runs.(r) in
    if first < 0 then None else Some (first + (k * step))

let rearranged shape axes =
  let axes = Option.value axes ~default:(List.mapi (fun i _ -> i) shape) in
  let moved = List.map (List.nth shape) axes and steps = List.map (List.nth (strides shape)) axes in
  fun i -> Some (place steps (coordinates moved i))

let padded shape output pads circular =
  let steps = strides shape in
  fun i ->
    let shifted = List.map2 (fun c (before, _) -> c - before) (coordinates output i) pads in
    let wrapped = if circular then List.map2 (fun c n -> (c + n) mod n) shifted shape else shifted in
    if List.for_all2 (fun c n -> c >= 0 && c < n) wrapped shape then Some (place steps wrapped) else None

let copying map =
  let out = Reading.product map.output and shape = List.hd map.inputs in
  let source =
    match map.kind with
    | Gather runs -> gathered runs
    | Rearrange axes -> rearranged shape axes
    | Pad (pads, circular) -> padded shape map.output pads circular
    | _ -> assert false
  in
  Verified.Copying (out, Reading.product shape, fun i -> if i < 0 || i >= out then None else source i)

(* A factor that broadcasts to a shape, spread over all its entries. *)
let scaling (factor : Arrays.numbers) shape ~bits where =
  let full = List.init (List.length shape - List.length factor.shape) (fun _ -> 1) @ factor.shape in
  let steps = List.map2 (fun s n -> if n = 1 then 0 else s) (strides full) full in
  let made = to_array factor ~bits where and size = Reading.product shape in
  let entry i =
    if i < 0 || i >= size then Z.zero
    else made.mantissa (if factor.count = 1 then 0 else place steps (coordinates shape i))
  in
  Verified.Scaling (size, { made with mantissa = entry })

let convolution c (kernel : Verified.array) shape =
  let axes =
    match (shape, c.sizes) with
    | _ :: _ :: image, _ :: _ :: taps ->
        let axis image (before, after) taps stride dilation =
          let outputs = Maps.outputs "" image (before, after) taps stride dilation in
          { Verified.image; outputs; taps; pad = before; stride; dilation }
        in
        Maps.map5 axis image c.pads taps c.stride c.dilation
    | _ -> assert false
  in
  let single = { Verified.image = 1; outputs = 1; taps = 1; pad = 0; stride = 1; dilation = 1 } in
  let first_axis, second_axis = match axes with [ a ] -> (a, single) | a :: b :: _ -> (a, b) | [] -> assert false in
  let outs = List.hd c.sizes / c.groups and ins = List.nth c.sizes 1 in
  Verified.Convolution { groups = c.groups; outs; ins; first_axis; second_axis; circular = c.circular; kernel }

(* The map, its numbers read; [bits]: how many the largest number of an array shall have. *)
let rec linear arrays ~bits map where =
  let shape = List.hd map.inputs in
  if Reading.product shape = 0 || Reading.product map.output = 0 then unchecked "%s: a map of no entries" where;
  let read value = Arrays.read arrays value where in
  match map.kind with
  | Dense { weight; out; inner } ->
      let numbers = read weight in
      Verified.Along (Reading.product shape / inner, out, inner, 1, to_array numbers ~bits:(bits weight) where)
  | Convolution c ->
      if List.hd shape <> 1 then unchecked "%s: a convolution of a batch of %d" where (List.hd shape);
      convolution c (to_array (read c.kernel) ~bits:(bits c.kernel) where) shape
  | Adjoint of_ -> Verified.Adjoint (linear arrays ~bits of_ where)
  | Diagonal factor -> scaling (read factor) map.output ~bits:(bits factor) where
  | Separable (factors, scale) -> separable arrays ~bits factors scale shape where
  | _ -> copying map

(* A matrix along each of some axes, one after the other, then a scale. *)
and separable arrays ~bits factors scale shape where =
  let rec before n shape = if n = 0 then 1 else List.hd shape * before (n - 1) (List.tl shape) in
  let along (shape, made) (axis, matrix, out, inner) =
    let left = before axis shape in
    let right = Reading.product shape / left / inner in
    let weight = to_array (Arrays.read arrays matrix where) ~bits:(bits matrix) where in
    let next = Verified.Along (left, out, inner, right, weight) in
    let all = match made with None -> next | Some inside -> Verified.Compose (next, inside) in
    (bounded (List.mapi (fun a n -> if a = axis then out else n) shape) where, Some all)
  in
  let shape, made = List.fold_left along (shape, None) factors in
  let power = Z.numbits (Q.den scale) - 1 in
  if not (Z.equal (Q.den scale) (Z.shift_left Z.one power)) then
    unchecked "%s: the scale %s, which is no integer over a power of two" where (Q.to_string scale);
  let scaled =
    Verified.Scaling (Reading.product shape, { mantissa = (fun _ -> Q.num scale); exponent = Z.of_int (-power) })
  in
  match made with None -> scaled | Some inside -> Verified.Compose (scaled, inside)

(* Goes through the products of a map: (output, input, weight), some of them perhaps for one place. *)
let rec entries linear f =
  match linear with
  | Verified.Along (before, out, inner, after, weight) ->
      for o = 0 to out - 1 do
        for i = 0 to inner - 1 do
          let w = weight.mantissa ((o * inner) + i) in
          if Z.sign w <> 0 then
            for b = 0 to before - 1 do
              for a = 0 to after - 1 do
                f ((((b * out) + o) * after) + a) ((((b * inner) + i) * after) + a) w
              done
            done
        done
      done
  | Verified.Convolution c ->
      let reads (a : Verified.axis) =
        let read p t =
          let q = (p * a.stride) + (t * a.dilation) - a.pad in
          (p, t, if c.circular then (q + a.image) mod a.image else q)
        in
        let all = List.init a.outputs (fun p -> List.init a.taps (read p)) in
        List.filter (fun (_, _, q) -> q >= 0 && q < a.image) (List.concat all)
      in
      let rows = reads c.first_axis and columns = reads c.second_axis in
      for o = 0 to (c.groups * c.outs) - 1 do
        for i = 0 to c.ins - 1 do
          let channel = (o / c.outs * c.ins) + i in
          let row (p, t, y) =
            let column (r, u, x) =
              let w = c.kernel.mantissa ((((((o * c.ins) + i) * c.first_axis.taps) + t) * c.second_axis.taps) + u) in
              let made = (((o * c.first_axis.outputs) + p) * c.second_axis.outputs) + r in
              f made ((((channel * c.first_axis.image) + y) * c.second_axis.image) + x) w
            in
            List.iter column columns
          in
          List.iter row rows
        done
      done
  | Verified.Adjoint of_ -> entries of_ (fun i j v -> f j i v)
  | Verified.Scaling (n, factor) ->
      for i = 0 to n - 1 do
        f i i (factor.mantissa i)
      done
  | Verified.Copying _ | Verified.Compose _ -> invalid_arg "entries"
