(* The tensors of a .safetensors file, read by hand. *)

open Refusal

type entry = { dtype : string; shape : int list; start : int; stop : int }  (* bytes of the file *)
type numbers = { dimensions : int list; values : float array }  (* in C order *)

type t = { channel : in_channel; entries : (string, entry) Hashtbl.t; known : (string, numbers) Hashtbl.t }

let sizes =
  [ ("F64", 8); ("F32", 4); ("F16", 2); ("BF16", 2); ("I64", 8); ("I32", 4); ("I16", 2); ("I8", 1); ("U8", 1);
    ("BOOL", 1) ]

let max_header = 100_000_000

let read_entry name value start =
  let where = Printf.sprintf "the tensor %s" (Text.repr (Text.prefix 80 name)) in
  let get = Reading.fields value where [ "dtype"; "shape"; "data_offsets" ] in
  let shape = Reading.shape (get "shape") (Text.prefix 80 name) in
  let first, last =
    match Reading.naturals ~length:2 (get "data_offsets") (Text.prefix 80 name) with
    | [ a; b ] -> (a, b)
    | _ -> assert false
  in
  match get "dtype" with
  | Json.Text dtype when List.mem_assoc dtype sizes && Reading.product shape * List.assoc dtype sizes = last - first ->
      { dtype; shape; start = start + first; stop = start + last }
  | other ->
      let dtype = Text.prefix 20 (Json.shown other) in
      refused "%s of %s and shape %s does not fit its bytes" where dtype (Reading.tuple shape)

(* Tensors follow each other from the header to the end of the file: none overlaps, no byte is left over. *)
let check_layout entries start size =
  let sorted = List.sort (fun (_, a) (_, b) -> compare (a.start, a.stop) (b.start, b.stop)) entries in
  let place position (name, entry) =
    if entry.start <> position then
      refused "the tensor %s does not begin where the one before it ends" (Text.repr (Text.prefix 80 name));
    entry.stop
  in
  let stop = List.fold_left place start sorted in
  if stop <> size then refused "the tensors end at byte %d of %d" stop size

(* Only the header is read; [Refused] where it is not what the format says. *)
let of_file path =
  let channel = open_in_bin path in
  let size = in_channel_length channel in
  let head = really_input_string channel (min 8 size) in
  let length = ref Z.zero in
  String.iteri (fun i c -> length := Z.add !length (Z.shift_left (Z.of_int (Char.code c)) (8 * i))) head;
  if size < 8 || Z.gt !length (Z.of_int (min max_header (size - 8))) then
    refused
      "the weights are no .safetensors file: their header is %s bytes long, the file %d; lipverify weights MODEL FILE \
       writes one"
      (Z.to_string !length) size;
  let length = Z.to_int !length in
  match Json.read (really_input_string channel length) with
  | Json.Object pairs ->
      let metadata = Option.value (Reading.find pairs "__metadata__") ~default:(Json.Object [||]) in
      (match metadata with
      | Json.Object texts when Array.for_all (function _, Json.Text _ -> true | _ -> false) texts -> ()
      | _ -> refused "the weights' metadata is no object of text");
      let tensors = List.filter (fun (name, _) -> name <> "__metadata__") (Array.to_list pairs) in
      let read = List.rev_map (fun (name, value) -> (name, read_entry name value (8 + length))) tensors in
      check_layout (List.rev read) (8 + length) size;
      { channel; entries = Hashtbl.of_seq (List.to_seq read); known = Hashtbl.create 16 }
  | _ -> refused "the weights' header is no object"

let entry weights name = Hashtbl.find_opt weights.entries name

let bytes weights entry =
  seek_in weights.channel entry.start;
  try really_input_string weights.channel (entry.stop - entry.start)
  with End_of_file -> refused "the weights' file is cut short"

let half bits =
  let sign = if bits land 0x8000 = 0 then 1. else -1. in
  let e = (bits lsr 10) land 31 and m = bits land 1023 in
  if e = 31 then nan
  else sign *. if e = 0 then ldexp (float_of_int m) (-24) else ldexp (float_of_int (1024 + m)) (e - 25)

let float32 data at = Int32.float_of_bits (String.get_int32_le data at)

(* Entry i as a float64, exactly; nan for what is no finite number, infinity for an integer that is no float64. *)
let decode dtype data i =
  match dtype with
  | "F64" -> Int64.float_of_bits (String.get_int64_le data (8 * i))
  | "F32" -> float32 data (4 * i)
  | "F16" -> half (String.get_uint16_le data (2 * i))
  | "BF16" -> Int32.float_of_bits (Int32.shift_left (Int32.of_int (String.get_uint16_le data (2 * i))) 16)
  | "I64" ->
      let n = String.get_int64_le data (8 * i) in
      let limit = Int64.shift_left 1L 53 in
      if Int64.compare n limit >= 0 || Int64.compare n (Int64.neg limit) <= 0 then infinity else Int64.to_float n
  | "I32" -> Int32.to_float (String.get_int32_le data (4 * i))
  | "I16" -> float_of_int (String.get_int16_le data (2 * i))
  | "I8" -> float_of_int (String.get_int8 data i)
  | "U8" -> float_of_int (String.get_uint8 data i)
  | _ -> ( match String.get_uint8 data i with 0 -> 0. | 1 -> 1. | _ -> infinity)

(* A tensor's numbers; [Refused] for NaN, infinity, an integer beyond 2^53, or a mask with other bytes than 0 and 1. *)
let numbers weights name =
  match Hashtbl.find_opt weights.known name with
  | Some found -> found
  | None ->
      let entry = Hashtbl.find weights.entries name in
      let data = bytes weights entry in
      let values = Array.init (Reading.product entry.shape) (decode entry.dtype data) in
      if not (Array.for_all (fun v -> Float.is_finite v) values) then begin
        let name = Text.repr (Text.prefix 80 name) in
        if List.mem entry.dtype [ "F64"; "F32"; "F16"; "BF16" ] then refused "the tensor %s holds NaN or infinity" name
        else refused "the tensor %s holds numbers beyond float64, or a mask other than 0 and 1" name
      end;
      let found = { dimensions = entry.shape; values } in
      Hashtbl.add weights.known name found;
      found
