(** A zero-padded convolution is a part of a torus' operator, so the torus' blocks bound it; so is a circular one.

    One axis: output i < outputs reads, at tap t, the integer i + offset_t, where the image of n places is either extended by
    zeros or wrapped around. [sufficient a b N twist]: the blocks, taps at the offsets b, at the frequencies of the torus of N
    points bound the convolution along the axis a. Plain and twisted tori serve alike if they hold the axis.
    Not here: strides (Strided.v), dilation as a direct sum (Dilated.v), and how near the bound is. *)

From Coq Require Import Arith Bool ZArith Reals Lra Lia Psatz.
From Lipverify Require Import Sums Vectors Complex Fourier Torus.
Open Scope R_scope.

Record axis := Axis { image : nat; outputs : nat; taps : nat; offset : nat -> Z; circular : bool }.

(** What x of shape (n, q) has at the integer z: zero outside of the image. *)
Definition padded (n q : nat) (x : cvec) (z : Z) : cvec :=
  fun c => if (0 <=? z)%Z && (z <? Z.of_nat n)%Z then row q (Z.to_nat z) x c else 0%C.

Definition place (a : axis) (z : Z) : Z := if circular a then (z mod Z.of_nat (image a))%Z else z.

(** The convolution along an axis, F t the linear map at tap t from vectors of q entries to vectors of p. *)
Definition along (a : axis) (q p : nat) (F : nat -> cvec -> cvec) (x : cvec) : cvec :=
  correlation p (taps a) (offset a) F (fun z => padded (image a) q x (place a z)).

Definition sufficient (a : axis) (b : nat -> Z) (N : nat) (twist : bool) : Prop :=
  forall q p F s, (forall t, linear q (F t)) ->
  (forall k, (k < N)%nat -> cbounded q p (block (taps a) b F (frequency N twist k)) s) ->
  cbounded (image a * q) (outputs a * p) (along a q p F) s.

(** ** Reading *)

Lemma padded_inside n q x z c : (0 <= z < Z.of_nat n)%Z -> padded n q x z c = row q (Z.to_nat z) x c.
Proof. intros inside. unfold padded. destruct (Z.leb_spec 0 z), (Z.ltb_spec z (Z.of_nat n)); try lia. reflexivity. Qed.

Lemma padded_outside n q x z c : ~ (0 <= z < Z.of_nat n)%Z -> padded n q x z c = 0%C.
Proof. intros outside. unfold padded. destruct (Z.leb_spec 0 z), (Z.ltb_spec z (Z.of_nat n)); try lia; reflexivity. Qed.

Lemma padded_ext n q x y z c :
  (c < q)%nat -> (forall j, (j < n * q)%nat -> x j = y j) -> padded n q x z c = padded n q y z c.
Proof.
  intros below same. destruct (Z_le_gt_dec 0 z), (Z_lt_ge_dec z (Z.of_nat n));
    try (rewrite !padded_outside by lia; reflexivity).
  rewrite !padded_inside by lia. apply same. nia.
Qed.

Lemma linear_along a q p F : (forall t, linear q (F t)) -> linear (image a * q) (along a q p F).
Proof.
  intros map. constructor; unfold along, correlation, stack.
  - intros x y i same. apply csum_ext; intros t _. apply (linear_ext q _ (map t)); intros c below.
    apply padded_ext; assumption.
  - intros x y i. rewrite <- csum_plus. apply csum_ext; intros t _. rewrite <- (linear_plus q _ (map t)).
    apply (linear_ext q _ (map t)); intros c _. unfold padded. destruct (_ && _); [reflexivity | ring].
  - intros k x i. rewrite <- csum_scal. apply csum_ext; intros t _. rewrite <- (linear_scal q _ (map t)).
    apply (linear_ext q _ (map t)); intros c _. unfold padded. destruct (_ && _); [reflexivity | ring].
Qed.

(** x of shape (n, q) with zeros up to the shape (N, q). *)
Definition embedded (n q : nat) (x : cvec) : cvec := fun i => if (i <? n * q)%nat then x i else 0%C.

Lemma csquare_embedded N n q x : (n <= N)%nat -> csquare (N * q) (embedded n q x) = csquare (n * q) x.
Proof.
  intros fits. replace (N * q)%nat with (n * q + (N - n) * q)%nat by nia. unfold csquare. rewrite sum_add.
  assert (forall i, (i < n * q)%nat -> embedded n q x i = x i) as inside
    by (intros i below; unfold embedded; destruct (Nat.ltb_spec i (n * q)); [reflexivity | lia]).
  assert (forall i, embedded n q x (n * q + i)%nat = 0%C) as outside
    by (intros i; unfold embedded; destruct (Nat.ltb_spec (n * q + i) (n * q)); [lia | reflexivity]).
  rewrite (sum_ext (n * q) _ (fun i => abs2 (x i))) by (intros i below; rewrite inside by exact below; reflexivity).
  rewrite (sum_zero ((N - n) * q)); [ring|]. intros i _. rewrite outside, abs2_real. ring.
Qed.

(** From n - N to N - 1 the torus shows the image and zeros. *)
Lemma around_embedded N twist n q x z c : (n <= N)%nat -> (c < q)%nat ->
  (Z.of_nat n - Z.of_nat N <= z < Z.of_nat N)%Z -> around N twist q (embedded n q x) z c = padded n q x z c.
Proof.
  intros fits below near. unfold around, extension.
  destruct (Z_lt_ge_dec z 0) as [before|after].
  - rewrite padded_outside by lia. replace (z mod Z.of_nat N)%Z with (z + Z.of_nat N)%Z
      by (apply Z.mod_unique_pos with (-1)%Z; lia).
    unfold row, embedded. destruct (Nat.ltb_spec (Z.to_nat (z + Z.of_nat N) * q + c) (n * q)); [nia | ring].
  - rewrite Z.div_small, Z.mod_small, sign_zero by lia. unfold row at 1, embedded.
    destruct (Z_lt_ge_dec z (Z.of_nat n)) as [within|beyond].
    + rewrite padded_inside by lia. destruct (Nat.ltb_spec (Z.to_nat z * q + c) (n * q)); [unfold row; ring | nia].
    + rewrite padded_outside by lia. destruct (Nat.ltb_spec (Z.to_nat z * q + c) (n * q)); [nia | ring].
Qed.

(** ** Compression *)

(** Whether output i reads an entry of the image, not only zeros. *)
Definition reads (a : axis) (i : nat) : Prop :=
  exists t, (t < taps a)%nat /\ (0 <= Z.of_nat i + offset a t < Z.of_nat (image a))%Z.

Lemma reads_or_not a i :
  {reads a i} + {forall t, (t < taps a)%nat -> ~ (0 <= Z.of_nat i + offset a t < Z.of_nat (image a))%Z}.
Proof.
  unfold reads. induction (taps a) as [|k IH]; [right; lia|].
  destruct IH as [found|none]; [left; destruct found as (t & below & inside); exists t; split; [lia | exact inside]|].
  destruct (Z_le_dec 0 (Z.of_nat i + offset a k)), (Z_lt_dec (Z.of_nat i + offset a k) (Z.of_nat (image a)));
    [left; exists k; lia | right .. ]; intros t below; destruct (Nat.eq_dec t k) as [->|other]; try lia; apply none; lia.
Defined.

(** The outputs that read something are N in succession at most, and at N points what lies beyond the image is zero. *)
Definition holds (N : nat) (a : axis) : Prop :=
  circular a = false /\ (0 < N)%nat /\ exists first, forall i, (i < outputs a)%nat -> reads a i ->
  (image a <= N)%nat /\ (first <= i < first + N)%nat /\
  forall t, (t < taps a)%nat -> (Z.of_nat (image a) - Z.of_nat N <= Z.of_nat i + offset a t < Z.of_nat N)%Z.

(** A sum of numbers that vanish outside of first .. first + N - 1. *)
Lemma sum_window m N first f g : (forall j, (j < N)%nat -> 0 <= g j) ->
  (forall i, (i < m)%nat -> f i = 0 \/ ((first <= i < first + N)%nat /\ f i <= g (i - first)%nat)) -> sum m f <= sum N g.
Proof.
  intros nonneg window. set (h := fun i => if (first <=? i)%nat && (i <? first + N)%nat then g (i - first)%nat else 0).
  assert (forall i, 0 <= h i) as above.
  { intros i. unfold h. destruct (Nat.leb_spec first i), (Nat.ltb_spec i (first + N)); simpl; try lra. apply nonneg; lia. }
  assert (sum m f <= sum m h) as below.
  { apply sum_le; intros i small. destruct (window i small) as [zero|[inside le]]; [rewrite zero; apply above|].
    unfold h. destruct (Nat.leb_spec first i), (Nat.ltb_spec i (first + N)); try lia. exact le. }
  assert (sum (first + N + m) h = sum N g) as whole.
  { rewrite !sum_add, (sum_zero first), (sum_zero m).
    - rewrite Rplus_0_l, Rplus_0_r. apply sum_ext; intros j small. unfold h.
      destruct (Nat.leb_spec first (first + j)), (Nat.ltb_spec (first + j) (first + N)); try lia.
      simpl. f_equal. lia.
    - intros i _. unfold h. destruct (Nat.ltb_spec (first + N + i) (first + N)); [lia|]. rewrite andb_false_r. reflexivity.
    - intros i small. unfold h. destruct (Nat.leb_spec first i); [lia | reflexivity]. }
  rewrite <- whole, (Nat.add_comm (first + N)), sum_add. pose proof (sum_nonneg (first + N) (fun j => h (m + j)%nat)
    (fun j _ => above (m + j)%nat)). lra.
Qed.

(** Every row of the zero-padded convolution is zero or a row of the torus' operator, each at most once. *)
Theorem padded_in_torus N twist a q p F x :
  holds N a -> (image a <= N)%nat -> (forall t, linear q (F t)) -> exists shift,
  csquare (outputs a * p) (along a q p F x) <= csquare (N * p)
    (torus N twist (taps a) (fun t => offset a t + shift)%Z q p F (embedded (image a) q x)).
Proof.
  intros (zeros & _ & first & window) fits map. exists (Z.of_nat first).
  unfold along, torus, correlation. rewrite !csquare_stack.
  apply sum_window with first; [intros; apply csquare_nonneg|]. intros i small.
  assert (forall z, place a z = z) as same by (intros z; unfold place; rewrite zeros; reflexivity).
  destruct (reads_or_not a i) as [reading|nothing].
  - right. destruct (window i small reading) as (_ & between & near). split; [exact between|]. right.
    apply csquare_ext; intros o _. apply csum_ext; intros t below. apply (linear_ext q _ (map t)); intros c short.
    replace (Z.of_nat (i - first) + (offset a t + Z.of_nat first))%Z with (Z.of_nat i + offset a t)%Z by lia.
    rewrite same. symmetry. apply around_embedded; [exact fits | exact short | apply near; exact below].
  - left. apply csquare_zero; intros o _. apply csum_zero; intros t below.
    apply (linear_zero q _ _ o (map t)); intros c _. apply padded_outside. rewrite same. apply nothing; exact below.
Qed.

(** ** Frequencies that suffice *)

(** The blocks may have their taps at offsets that all differ by the same amount. *)
Lemma sufficient_moved a b moved shift N twist : (forall t, (t < taps a)%nat -> moved t = b t + shift)%Z ->
  sufficient a b N twist -> sufficient a moved N twist.
Proof.
  intros same enough q p F s map blocks. apply enough; [exact map|]. intros k below.
  apply (block_moved_bounded q p (taps a) b shift). apply block_ext with moved; [exact same | apply blocks; exact below].
Qed.

(** A convolution that reads only zeros is zero, which any block bounds. *)
Lemma silent_bound a q p F w s x : (forall t, linear q (F t)) -> circular a = false ->
  (forall i, (i < outputs a)%nat -> ~ reads a i) -> cbounded q p (block (taps a) (offset a) F w) s ->
  csquare (outputs a * p) (along a q p F x) <= s * csquare (image a * q) x.
Proof.
  intros map zeros silent known. unfold along, correlation. rewrite csquare_stack, (sum_zero (outputs a)).
  - rewrite csquare_rows, <- sum_scal. apply sum_nonneg; intros j _.
    eapply Rle_trans; [apply csquare_nonneg | apply known].
  - intros i small. apply csquare_zero; intros o _. apply csum_zero; intros t below.
    apply (linear_zero q _ _ o (map t)); intros c _. apply padded_outside. unfold place. rewrite zeros.
    intros inside. apply (silent i small). exists t. auto.
Qed.

(** One axis with zero padding: the frequencies of a torus, plain or twisted, that holds it. *)
Theorem torus_bound N twist a : holds N a -> sufficient a (offset a) N twist.
Proof.
  intros held q p F s map blocks x. destruct (le_lt_dec (image a) N) as [fits|larger].
  - destruct (padded_in_torus N twist a q p F x held fits map) as [shift part].
    rewrite <- (csquare_embedded N (image a) q) by exact fits.
    eapply Rle_trans; [exact part|]. apply torus_bounded; [exact map|].
    intros k below. apply block_moved_bounded, blocks. exact below.
  - destruct held as (zeros & positive & first & window).
    apply silent_bound with (frequency N twist 0); [exact map | exact zeros | |].
    + intros i small reading. destruct (window i small reading). lia.
    + apply blocks. exact positive.
Qed.

(** Circular padding with no more outputs than the image has places: the image is the torus. *)
Theorem circular_bound a : circular a = true -> (outputs a <= image a)%nat -> sufficient a (offset a) (image a) false.
Proof.
  intros wraps fits q p F s map blocks x.
  apply Rle_trans with (csquare (image a * p) (torus (image a) false (taps a) (offset a) q p F x)).
  - unfold along, torus, correlation. rewrite !csquare_stack.
    apply sum_window with O; [intros; apply csquare_nonneg|]. intros i small. right. split; [lia|]. right.
    rewrite Nat.sub_0_r. apply csquare_ext; intros o _. apply csum_ext; intros t _.
    apply (linear_ext q _ (map t)); intros c _. unfold place. rewrite wraps.
    pose proof (Z.mod_pos_bound (Z.of_nat i + offset a t) (Z.of_nat (image a)) ltac:(lia)).
    rewrite padded_inside by lia. unfold around, extension, sign. simpl. ring.
  - apply torus_bounded; [exact map|]. exact blocks.
Qed.

(** Where all taps have the same offset, a torus of any size will do. *)
Theorem constant_bound a shift N twist : circular a = false -> (forall t, (t < taps a)%nat -> offset a t = shift) ->
  (0 < N)%nat -> sufficient a (offset a) N twist.
Proof.
  intros zeros same positive q p F s map blocks.
  set (large := (1 + image a + outputs a + Z.to_nat (Z.abs shift))%nat).
  apply (torus_bound large false); [|exact map|].
  - split; [exact zeros|]. split; [lia|]. exists O. intros i small (t & below & inside). do 2 (split; [lia|]).
    intros t' below'. rewrite same in * by assumption. lia.
  - intros k _. apply block_constant with (frequency N twist 0) shift; [exact same | apply blocks; exact positive].
Qed.

(** ** Sizes of a torus that hold an axis *)

(** The least that the checker computes, for offsets from low to high. *)
Definition least_torus (count outputs low high : Z) : Z :=
  (let first := Z.max 0 (- high) in
   let last := Z.min (outputs - 1) (count - 1 - low) in
   if (last <? first) || (count <? 1) then 1
   else Z.max (count + Z.max 0 (Z.max (- (first + low)) (last + high - count + 1))) (last - first + 1))%Z.

Theorem least_torus_holds N a low high : circular a = false ->
  (forall t, (t < taps a)%nat -> (low <= offset a t <= high)%Z) ->
  (least_torus (Z.of_nat (image a)) (Z.of_nat (outputs a)) low high <= Z.of_nat N)%Z -> holds N a.
Proof.
  intros zeros range enough. unfold least_torus in enough.
  destruct (Z.ltb_spec (Z.min (Z.of_nat (outputs a) - 1) (Z.of_nat (image a) - 1 - low)) (Z.max 0 (- high))),
    (Z.ltb_spec (Z.of_nat (image a)) 1); simpl in enough;
    (split; [exact zeros|]); (split; [lia|]); exists (Z.to_nat (Z.max 0 (- high)));
    intros i small (t & below & inside); pose proof (range t below); try lia.
  do 2 (split; [lia|]). intros t' below'. pose proof (range t' below'). lia.
Qed.

(** Zero padding by l before and r after, taps of reach R: every N >= n + max (min l R) (min r R) holds it. *)
Theorem padding_holds N a (l r R : Z) : circular a = false ->
  (0 <= l)%Z -> (0 <= r)%Z -> (0 <= R)%Z -> (forall t, (t < taps a)%nat -> (- l <= offset a t <= R - l)%Z) ->
  Z.of_nat (outputs a) = Z.max 0 (Z.of_nat (image a) + l + r - R) ->
  (0 < N)%nat -> (Z.of_nat (image a) + Z.max (Z.min l R) (Z.min r R) <= Z.of_nat N)%Z -> holds N a.
Proof.
  intros zeros Hl Hr HR range made positive enough. split; [exact zeros|]. split; [exact positive|].
  exists (Z.to_nat (Z.max 0 (l - R))). intros i small (t & below & inside). pose proof (range t below).
  do 2 (split; [lia|]). intros t' below'. pose proof (range t' below'). lia.
Qed.
